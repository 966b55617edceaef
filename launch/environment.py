"""What a started process knows about itself: torchrun's variables, or the values of a lone process."""

import importlib.metadata
import os
import platform
import re
import socket


def rank() -> int:
    """Return the number of this process among all of the job's."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """Return the number of this process on its node."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def world_size() -> int:
    """Return how many processes the job has."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_world_size() -> int:
    """Return how many processes of the job this node has."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def restart_count() -> int:
    """Return how often torchrun has restarted the job."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def node_rank() -> int | None:
    """Return the number that the environment gives this node, in NODE_RANK."""
    number = os.environ.get("NODE_RANK", "")
    return int(number) if number.isdigit() else None


def node_name() -> str:
    """Return this node's name, fit for a file's: its host name, and its number where it has one."""
    number = node_rank()
    name = socket.gethostname() if number is None else f"{socket.gethostname()}-{number}"
    return re.sub(r"[^\w.-]", "-", name)


def versions() -> dict[str, str]:
    """Return the versions that the processes of a job must share."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for package in ("loglinear", "torch"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "none"
    return found


def available_cpus() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
