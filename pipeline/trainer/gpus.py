"""The GPUs that figures can be named for: what they compute at most and what they hold."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class GPU:
    """One GPU: FLOP/s in dense bf16 products summed in fp32, in fp32 without tensor cores, and memory."""

    bf16: float
    fp32: float
    memory_bytes: int


GB = 10**9  # as data sheets count; what a driver shows of the same memory is up to 7 % more

# NVIDIA's data sheets, by name. Where a sheet gives bf16 with sparsity alone, half of it stands here; for
# GeForce the architecture papers' rate with fp32 sums, half of the one with fp16 sums. The peaks in bf16 are
# those of torchtitan/tools/utils.py for A100, H100, H200, L40S and B200, and of projects that take over
# nanochat's list for the others; A10's is its sheet's alone.
GPUS: MappingProxyType[str, GPU] = MappingProxyType(
    {
        "A100-40GB": GPU(312e12, 19.5e12, 40 * GB),  # A100, June 2021
        "A100-80GB": GPU(312e12, 19.5e12, 80 * GB),
        "A10": GPU(125e12, 31.2e12, 24 * GB),  # A10, March 2022
        "L4": GPU(121e12, 30.3e12, 24 * GB),  # L4, March 2023
        "L40S": GPU(362e12, 91.6e12, 48 * GB),  # L40S, 2023
        "H100-PCIe": GPU(756e12, 51e12, 80 * GB),  # H100, 2023
        "H100-NVL": GPU(835e12, 60e12, 94 * GB),  # H100, 2024
        "H100": GPU(989e12, 67e12, 80 * GB),  # SXM
        "H200-NVL": GPU(836e12, 60e12, 141 * GB),  # H200, 2024
        "H200": GPU(989e12, 67e12, 141 * GB),  # SXM
        "B200": GPU(2250e12, 75e12, 180 * GB),  # HGX B200, 2025
        "RTX-3090": GPU(71e12, 35.6e12, 24 * GB),  # GA102 architecture paper
        "RTX-4090": GPU(165.2e12, 82.6e12, 24 * GB),  # Ada architecture paper
        "RTX-5090": GPU(209.5e12, 104.8e12, 32 * GB),  # Blackwell RTX architecture paper
    }
)


def recognised(device_name: str, memory_bytes: int) -> str | None:
    """Return the table's name for what a driver calls a GPU, None where it is not in the table.

    A name of several words wins over one of fewer (`NVIDIA H100 PCIe` is no SXM), and of two sizes of one
    GPU the one nearest in memory.
    """
    words = set(device_name.upper().replace("-", " ").split())
    fitting = [name for name in GPUS if _words(name) <= words]
    if not fitting:
        return None
    most = max(len(_words(name)) for name in fitting)
    return min(
        (name for name in fitting if len(_words(name)) == most),
        key=lambda name: abs(GPUS[name].memory_bytes - memory_bytes),
    )


def _words(name: str) -> set[str]:
    """Return what must stand in a driver's name: all of ours but the size of the memory."""
    return {word for word in name.upper().split("-") if not word.endswith("GB")}
