"""What works on this machine, and the remedy for what does not."""

import importlib.metadata
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from launch.environment import available_cpus
from pipeline.formats.publish import publishing

LEAST_DISK_BYTES = 10 * 2**30
LEAST_MEMORY_BYTES = 6 * 2**30
LOCK_SECONDS = 600
DOCUMENTATION_ADDRESS = ("192.0.2.1", 9)  # TEST-NET-1 of RFC 5737

Status = str
OK: Status = "ok"
MISSING: Status = "missing"
OPTIONAL: Status = "optional"


@dataclass(frozen=True)
class Finding:
    """What one check found; `remedy` is empty where nothing is to be done."""

    name: str
    status: Status
    found: str
    remedy: str = ""


def examine(directory: Path = Path()) -> list[Finding]:
    """Run every check; `directory` is where data and runs would be written."""
    checks: list[Callable[[], Finding]] = [
        _python,
        _compiler,
        _headers,
        _torch,
        _cuda,
        _deepspeed,
        _zstd,
        _cpus,
        _memory,
        lambda: _disk(directory),
        lambda: _write(directory),
        _extension_locks,
        _network,
        _torchrun,
        _deepspeed_launcher,
        _wandb,
        _slurm,
    ]
    return [check() for check in checks]


def healthy(findings: list[Finding]) -> bool:
    """Tell whether everything that is needed is there."""
    return all(finding.status != MISSING for finding in findings)


def told(findings: list[Finding]) -> str:
    """Return the findings as lines, each remedy below what it is for."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.status:<9}{finding.name:<18}{finding.found}")
        lines += [f"{'':<9}{'':<18}-> {finding.remedy}"] if finding.remedy else []
    return "\n".join(lines)


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Finding("python", OK, found)
    return Finding("python", MISSING, found, "use Python 3.11, 3.12 or 3.13: make PYTHON=python3.12 ...")


def _compiler() -> Finding:
    path = shutil.which(os.environ.get("CXX", "c++")) or shutil.which("g++")
    if path:
        return Finding("C++ compiler", OK, path)
    return Finding(
        "C++ compiler", MISSING, "none", "install g++ (DeepSpeed and torch.compile build code with it)"
    )


def _headers() -> Finding:
    header = Path(sysconfig.get_path("include"), "Python.h")
    if header.is_file():
        return Finding("Python headers", OK, str(header.parent))
    return Finding("Python headers", MISSING, f"no {header}", "install python3-dev for this Python")


def _torch() -> Finding:
    return _package("torch", "install with constraints.txt, see the README")


def _deepspeed() -> Finding:
    return _package(
        "deepspeed", "pip install -c constraints.txt deepspeed; the engine `single` works without"
    )


def _zstd() -> Finding:
    if sys.version_info >= (3, 14) or importlib.util.find_spec("backports.zstd"):
        return Finding("zstd", OK, "truncated files are noticed")
    return Finding(
        "zstd", MISSING, "no backports.zstd", "pip install backports.zstd, or truncated files pass unseen"
    )


def _package(name: str, remedy: str) -> Finding:
    try:
        return Finding(name, OK, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, MISSING, "not installed", remedy)


def _cuda() -> Finding:
    tool = shutil.which("nvidia-smi")
    if not tool:
        return Finding(
            "CUDA", OPTIONAL, "no nvidia-smi", "training runs on the CPU; sizes above 117M want a GPU"
        )
    query = [tool, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=30)
    if answer.returncode:
        return Finding(
            "CUDA", MISSING, answer.stderr.strip() or answer.stdout.strip(), "repair the NVIDIA driver"
        )
    gpus = answer.stdout.strip().splitlines()
    if "+cpu" in importlib.metadata.version("torch"):
        return Finding(
            "CUDA", MISSING, gpus[0], "torch is a CPU build: install a CUDA build of the same version"
        )
    return Finding("CUDA", OK, f"{len(gpus)} x {gpus[0]}")


def _cpus() -> Finding:
    return Finding("CPUs", OK, str(available_cpus()))


def _memory() -> Finding:
    free = psutil.virtual_memory().available
    found = f"{free / 2**30:.1f} GiB free"
    if free >= LEAST_MEMORY_BYTES:
        return Finding("memory", OK, found)
    return Finding(
        "memory",
        MISSING,
        found,
        f"the quickstart wants {LEAST_MEMORY_BYTES / 2**30:.0f} GiB; end other programs",
    )


def _disk(directory: Path) -> Finding:
    free = shutil.disk_usage(directory).free
    found = f"{free / 2**30:.1f} GiB free at {directory.resolve()}"
    if free >= LEAST_DISK_BYTES:
        return Finding("disk", OK, found)
    return Finding("disk", MISSING, found, "free some, or choose another place with out=DIR")


def _write(directory: Path) -> Finding:
    probe = directory / ".loglinear-probe"
    start = time.monotonic()
    try:
        with publishing(probe) as draft:
            draft.write_bytes(b"0" * 2**20)
        probe.unlink()
    except OSError as fault:
        return Finding("write and rename", MISSING, str(fault), f"make {directory.resolve()} writable")
    return Finding("write and rename", OK, f"1 MiB, fsync and rename in {time.monotonic() - start:.2f} s")


def _extension_locks() -> Finding:
    home = Path(os.environ.get("TORCH_EXTENSIONS_DIR", Path.home() / ".cache" / "torch_extensions"))
    now = time.time()
    stale = [lock for lock in home.glob("**/lock") if now - lock.stat().st_mtime > LOCK_SECONDS]
    if not stale:
        return Finding("extension locks", OK, f"none stale in {home}")
    return Finding(
        "extension locks",
        MISSING,
        str(stale[0]),
        f"a build was killed and the next waits for ever: rm {stale[0]}",
    )


def _network() -> Finding:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(DOCUMENTATION_ADDRESS)  # a datagram socket only looks up the route; nothing is sent
    except OSError as fault:
        return Finding(
            "network", OPTIONAL, f"no route ({fault})", "crawls and wandb want one; the quickstart does not"
        )
    return Finding("network", OK, "a route to the outside (not tried)")


def _torchrun() -> Finding:
    """Tell whether other nodes could reach this one by its name; on one node torchrun needs no name."""
    if not importlib.util.find_spec("torch"):
        return Finding("torchrun", MISSING, "no torch", "install with constraints.txt, see the README")
    name = socket.gethostname()
    remedy = (
        f"for several nodes, give this one's address: export PET_LOCAL_ADDR=..., or mend {name} in /etc/hosts"
    )
    try:
        address = socket.gethostbyname(name)
    except OSError as fault:
        return Finding("torchrun", OPTIONAL, f"one node: {name} does not resolve ({fault})", remedy)
    if address.startswith("127."):
        return Finding("torchrun", OPTIONAL, f"one node: {name} is {address}, which means this node", remedy)
    return Finding("torchrun", OK, f"one node or several: {name} is {address}")


def _deepspeed_launcher() -> Finding:
    missing = [tool for tool in ("pdsh", "ssh") if not shutil.which(tool)]
    if not importlib.util.find_spec("deepspeed"):
        return Finding("deepspeed nodes", OPTIONAL, "no deepspeed", "kind: torchrun works without")
    if missing:
        return Finding(
            "deepspeed nodes",
            OPTIONAL,
            f"no {' and no '.join(missing)}",
            "apt install pdsh openssh-client on the node that starts, or no_ssh: true, or kind: torchrun",
        )
    return Finding("deepspeed nodes", OK, "pdsh over ssh (no node was tried)")


def _wandb() -> Finding:
    netrc = Path.home() / ".netrc"
    if os.environ.get("WANDB_API_KEY") or (netrc.is_file() and "api.wandb.ai" in netrc.read_text()):
        return Finding("wandb key", OK, "set")
    return Finding(
        "wandb key", OPTIONAL, "none", "runs are kept offline; `wandb login` or WANDB_API_KEY to send them"
    )


def _slurm() -> Finding:
    if shutil.which("sbatch"):
        return Finding("Slurm", OK, shutil.which("sbatch") or "")
    return Finding("Slurm", OPTIONAL, "no sbatch", "only --on a Slurm configuration wants it")
