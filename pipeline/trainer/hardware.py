"""What the device is, what it can do at most, and how its memory is kept: no training in here."""

from __future__ import annotations

import ctypes
import resource
import sys
import time
from dataclasses import dataclass
from types import MappingProxyType

import torch

from pipeline.errors import ConfigError

# FLOP/s from NVIDIA's data sheets: bf16 dense (sparse figures are twice these), fp32 without tensor cores.
GPU_PEAKS = MappingProxyType(
    {
        "A100": {"bf16": 312e12, "fp32": 19.5e12},
        "H100 PCIe": {"bf16": 756e12, "fp32": 51e12},
        "H100": {"bf16": 989e12, "fp32": 67e12},
        "H200": {"bf16": 989e12, "fp32": 67e12},
        "L40S": {"bf16": 362e12, "fp32": 91.6e12},
        "RTX 4090": {"bf16": 165e12, "fp32": 82.6e12},
    }
)

# glibc's mallopt(3).
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_LARGEST_INT = 2**31 - 1
_LARGEST_MMAP_THRESHOLD = 32 * 2**20  # half of an arena, the most that glibc accepts
_TOP_PAD_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Peak:
    """The FLOP/s that `mfu` is measured against, and where the figure comes from."""

    flops: float
    name: str


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed activations for the next step instead of giving them back to the kernel.

    Returns False where the C library has no such knobs.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    settings = (
        (_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD),
        (_M_TRIM_THRESHOLD, _LARGEST_INT),
        (_M_TOP_PAD, _TOP_PAD_BYTES),
    )
    return all(mallopt(knob, value) == 1 for knob, value in settings)


def set_threads(threads: int | None) -> None:
    """Hold torch to a number of compute threads; None leaves what the environment says."""
    if threads is not None:
        torch.set_num_threads(threads)


def choose_device(name: str) -> torch.device:
    """Return the device that `auto`, `cpu` or `cuda` means here; ConfigError if there is none."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        from launch.environment import local_rank

        if not torch.cuda.is_available():
            raise ConfigError(
                "engine.device: cuda, but torch sees no GPU here; use device: cpu, or see `loglinear doctor`"
            )
        torch.cuda.set_device(local_rank())
        return torch.device("cuda", local_rank())
    return torch.device(name)


def peak(device: torch.device, precision: str) -> Peak | None:
    """Return the device's peak: a data sheet's for a known GPU, a measured product for a CPU, else None."""
    if device.type == "cpu":
        return _measured(device)
    name = torch.cuda.get_device_name(device)
    for label, peaks in GPU_PEAKS.items():
        if all(word in name for word in label.split()):
            return Peak(peaks[precision], f"{label} {precision} dense, data sheet")
    return None


def peak_memory_bytes(device: torch.device) -> int:
    """Return the most memory held so far: allocated on a GPU, resident on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _measured(device: torch.device, size: int = 768, repeats: int = 5) -> Peak:
    """Measure the fp32 matrix product: the best of a few, after one to warm up; about 0.1 s."""
    a = torch.ones(size, size, device=device)
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        torch.mm(a, a)
        seconds.append(time.perf_counter() - start)
    threads = torch.get_num_threads()
    return Peak(
        2 * size**3 / min(seconds[1:]), f"measured fp32 {size}x{size} matrix product, {threads} threads"
    )
