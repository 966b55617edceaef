"""Where figures come from: versions, code and hardware, written down at every start of a run."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import socket
import sys
import time
from pathlib import Path
from typing import Any

import torch

from launch.environment import available_cpus, restart_count

PACKAGES = ("torch", "deepspeed", "numpy", "safetensors", "loglinear")


def origin() -> dict[str, Any]:
    """Return what this process runs on and with; no environment variables, which may hold secrets."""
    return {
        "started": time.time(),
        "argv": sys.argv,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "code_hash": code_hash(),
        "hardware": {
            "host": socket.gethostname(),
            "platform": platform.platform(),
            "cpu": _cpu(),
            "cpus": available_cpus(),
            "threads": torch.get_num_threads(),
            "gpus": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
        },
        "restart_count": restart_count(),
        "pid": os.getpid(),
    }


def code_hash() -> str:
    """Return a hash over the source of the packages `model`, `launch` and `pipeline`."""
    root = Path(__file__).parents[2]
    digest = hashlib.blake2b(digest_size=8)
    for package in ("launch", "model", "pipeline"):
        for path in sorted((root / package).rglob("*.py")):
            digest.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )
