"""System calls of a process: seen, counted, and made to fail at the N-th, by strace."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

# What changes a file system, as Python, torch and safetensors ask for it.
CHANGES = ("mkdir", "openat", "write", "fsync", "rename", "renameat", "unlink", "unlinkat", "rmdir")
SEEN = (*CHANGES, "fdatasync", "pwrite64", "writev", "ftruncate", "copy_file_range", "sendfile", "renameat2")
PATIENCE_SECONDS = 60.0
_LINE = re.compile(r"^(?:\d+ +)?(\w+)\((.*)")
_DESCRIPTOR = re.compile(r"^\d+<([^>]*)>")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Call:
    """One call: its name, and the paths it names; for calls on a descriptor, the path that it stands for."""

    name: str
    paths: tuple[str, ...]
    writes: bool


def wanted() -> None:
    """Skip where there is no strace, or where it may not trace."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed (Debian: apt-get install strace)")
    if subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode:
        pytest.skip("strace may not trace processes here")


def trace(process: int, log: Path, *options: str) -> subprocess.Popen[bytes]:
    """Attach to a process or thread, and return once it is traced."""
    command = ["strace", "-qq", "-y", "-o", str(log), "-p", str(process), *options]
    tracer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    status, until = Path(f"/proc/{process}/status"), time.monotonic() + PATIENCE_SECONDS
    while f"TracerPid:\t{tracer.pid}\n" not in status.read_text():
        assert tracer.poll() is None and time.monotonic() < until, "strace could not attach"
        time.sleep(0.001)
    return tracer


def seen_calls(log: Path) -> Iterator[Call]:
    """Yield the calls of a log that did what they were asked for, in their order."""
    for line in log.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match is None or " = -1 " in line:
            continue
        name, rest = match.groups()
        on = _DESCRIPTOR.match(rest)
        paths = (on[1],) if on else tuple(_QUOTED.findall(rest))
        is_writer = name in ("write", "pwrite64", "writev", "ftruncate", "copy_file_range", "sendfile")
        yield Call(name, paths, is_writer or ("O_TRUNC" in rest or "O_CREAT" in rest) and name == "openat")


def counted(log: Path) -> dict[str, int]:
    """Return how often each call that changes a file system was made, well or not."""
    names = [
        match[1] for line in log.read_text(errors="replace").splitlines() if (match := _LINE.match(line))
    ]
    return {name: names.count(name) for name in CHANGES if name in names}
