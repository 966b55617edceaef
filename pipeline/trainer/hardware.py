"""What the device is, what it can do at most, and how its memory is kept: no training in here."""

from __future__ import annotations

import ctypes
import resource
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from pipeline.errors import ConfigError
from pipeline.trainer.gpus import GPUS, recognised

# glibc's mallopt(3).
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8
_LARGEST_INT = 2**31 - 1
_LARGEST_MMAP_THRESHOLD = 32 * 2**20  # half of an arena, the most that glibc accepts
_THRIFTY_MMAP_THRESHOLD = 2**20
_TOP_PAD_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Peak:
    """The FLOP/s that `mfu` is measured against, and where the figure comes from."""

    flops: float
    name: str


def keep_freed_memory(thrifty: bool = False) -> bool:
    """Tell glibc to keep freed activations for the next step instead of giving them back to the kernel.

    That is fast and costs memory: a place in its heap is too small for a second tensor of the same size, by
    the bytes that aligned it. At 17M parameters recomputing blocks saved nothing at all for that reason. A
    `thrifty` process keeps small tensors alone, in one heap for all its threads, and spends up to a quarter
    more time on the kernel's pages; threads that are there already may have heaps of their own.
    Returns False where the C library has no such knobs.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    settings = (
        (_M_MMAP_THRESHOLD, _THRIFTY_MMAP_THRESHOLD if thrifty else _LARGEST_MMAP_THRESHOLD),
        (_M_TRIM_THRESHOLD, _LARGEST_INT),
        (_M_TOP_PAD, _TOP_PAD_BYTES),
        *(((_M_ARENA_MAX, 1),) if thrifty else ()),
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
    properties = torch.cuda.get_device_properties(device)
    name = recognised(properties.name, properties.total_memory)
    if name is None:
        return None
    return Peak(getattr(GPUS[name], precision), f"{name} {precision} dense, data sheet")


def available_memory_bytes(device: torch.device) -> int:
    """Return what is free for this process: on its GPU, or on this machine within its control group."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min([psutil.virtual_memory().available, *_left_in_control_groups()])


def resident_bytes() -> int:
    """Return what of this process is in memory now."""
    return int(psutil.Process().memory_info().rss)


def peak_memory_bytes(device: torch.device) -> int:
    """Return the most memory held so far: allocated on a GPU, resident on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.is_file():
        # Not getrusage: on Linux a process begins with the maximum of the one that started it.
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


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


def _left_in_control_groups(
    root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> list[int]:
    """Return what each control group around this process may still use; empty where none is limited.

    Page cache counts as used there, but gives way.
    """
    left = []
    for group in _control_groups(root, own):
        for limit, used, cache in (
            ("memory.max", "memory.current", "inactive_file"),  # cgroup 2
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            try:
                allowed, held = (group / limit).read_text().strip(), int((group / used).read_text())
                counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            except (OSError, ValueError):
                continue
            if allowed != "max":
                left.append(max(int(allowed) - held + int(counts.get(cache, 0)), 0))
    return left


def _control_groups(root: Path, own: Path) -> list[Path]:
    """Return the folders of this process's group and of those around it, under either version's root."""
    try:
        lines = own.read_text().splitlines()
    except OSError:  # not Linux
        return []
    found = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top = root / "memory" if controllers else root
        inner = top / group.lstrip("/")
        found += [inner, *(folder for folder in inner.parents if folder.is_relative_to(top))]
    return found
