"""What the processes of a job find out about each other: what `loglinear doctor --on` runs on every node."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from launch.environment import node_name, rank
from pipeline.formats.publish import publishing
from pipeline.trainer.collective import gathered, join, leave, wait_for_all
from pipeline.trainer.origin import origin

MEET_SECONDS = 60.0
SEEN_SECONDS = 30.0  # as long as a network file system may keep an old listing
ELEMENTS = 2**20


def roll(directory: Path, local: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what each process tells, in the order of ranks, on every process; collective.

    `local` is what a process has found on its own node. `clock` is seconds since 1970, read at one moment;
    `unseen` the ranks whose file in `directory` did not appear; `reduced_seconds` None where a sum is wrong.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    join(device, MEET_SECONDS)
    try:
        wait_for_all()
        clock = time.time()
        start = origin()
        told = {
            "rank": rank(),
            "node": node_name(),
            "host": socket.gethostname(),
            "versions": start["versions"] | {"code": start["code_hash"]},
            "clock": clock,
            "local": local,
            "unseen": _unseen(directory),
            "reduced_seconds": _reduced_seconds(device),
        }
        return gathered(told)
    finally:
        leave()


def _unseen(directory: Path) -> list[int]:
    """Return the ranks whose published file this process does not come to see; collective."""
    names = [directory / f".roll-call-{number}" for number in range(dist.get_world_size())]
    with publishing(names[rank()]) as draft:
        draft.write_text(str(rank()))
    wait_for_all()
    until = time.monotonic() + SEEN_SECONDS
    while any(not name.is_file() for name in names) and time.monotonic() < until:
        time.sleep(0.1)
    missing = [number for number, name in enumerate(names) if not name.is_file()]
    wait_for_all()
    names[rank()].unlink(missing_ok=True)
    return missing


def _reduced_seconds(device: torch.device) -> float | None:
    """Return how long the sum of 4 MiB over all processes takes; collective."""
    values = torch.full((ELEMENTS,), float(rank() + 1), device=device)
    begun = time.monotonic()
    dist.all_reduce(values)
    first = float(values[0].item())
    count = dist.get_world_size()
    return time.monotonic() - begun if first == count * (count + 1) / 2 else None
