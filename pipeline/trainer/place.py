"""Where in our own code a thread is, and whether it waits there for other processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).parents[2]
OURS = tuple(f"{ROOT / package}/" for package in ("pipeline", "model", "launch"))
COLLECTIVE = str(Path(__file__).with_name("collective.py"))
COMMUNICATION = ("/torch/distributed/", "/deepspeed/comm/")
# Gradients are summed over the processes below Python, while the main thread is in here.
BACKWARD = "/torch/autograd/"


def place(frame: FrameType | None) -> str:
    """Return FILE:LINE function of the innermost frame that is ours; the innermost one if none is."""
    frames = list(_outwards(frame))
    found = next((each for each in frames if _is_work(each)), frames[0] if frames else None)
    if found is None:
        return "nowhere"
    file = found.f_code.co_filename
    shown = Path(file).relative_to(ROOT).as_posix() if file.startswith(OURS) else file
    return f"{shown}:{found.f_lineno} {found.f_code.co_name}"


def is_waiting(frame: FrameType | None, is_idle: bool) -> bool:
    """Tell whether a thread waits for other processes; `is_idle`: it uses no processor."""
    for each in _outwards(frame):
        file = each.f_code.co_filename
        if file == COLLECTIVE or any(part in file for part in COMMUNICATION):
            return True
        if BACKWARD in file:
            return is_idle
        if _is_work(each):
            return False
    return False


def _is_work(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    return file.startswith(OURS) and file != COLLECTIVE


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
