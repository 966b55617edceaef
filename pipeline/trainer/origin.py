"""Where figures come from: versions, code and hardware, written down at every start of a run."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import socket
import sys
import time
from pathlib import Path
from typing import Any

import torch

from launch.code import Code
from launch.environment import available_cpus, restart_count

PACKAGES = ("torch", "deepspeed", "numpy", "safetensors", "loglinear")


def origin() -> dict[str, Any]:
    """Return what this process runs on and with; no environment variables, which may hold secrets."""
    return {
        "started": time.time(),
        "argv": sys.argv,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "code_hash": Code.here().hash,
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
