"""More hashes than memory holds: tasks write them in sorted runs, and they are read back a part of the hash
space at a time.

Parts of the hash space are those of `pipeline.formats.hashes`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pipeline.formats.hashes import Hashes, edges
from pipeline.formats.publish import publishing

RUN = 4 << 20  # hashes sorted at a time: 32 MiB, about three times that while they are sorted
PART = 16 << 20  # hashes of one part: 128 MiB, likewise


class Spill:
    """What one task writes; equal hashes of one run are written once."""

    def __init__(self, folder: Path, rank: int):
        self._folder, self._rank = folder, rank
        self._pending: list[Hashes] = []
        self._count = self._runs = 0

    def add(self, hashes: Hashes) -> None:
        """Take hashes; a run goes to disk when there are enough for one."""
        self._pending.append(hashes)
        self._count += len(hashes)
        if self._count >= RUN:
            self.end_run()

    def end_run(self) -> None:
        """Write what is pending."""
        if not self._count:
            return
        target = self._folder / f"{self._rank:05d}-{self._runs:05d}.npy"
        with publishing(target) as draft, draft.open("wb") as file:
            np.save(file, np.unique(np.concatenate(self._pending)))
        self._pending, self._count, self._runs = [], 0, self._runs + 1


@contextmanager
def spilling(folder: Path, rank: int) -> Iterator[Spill]:
    """Yield the writer of task `rank`; a task that is repeated writes the same files again."""
    spill = Spill(folder, rank)
    yield spill
    spill.end_run()


def parts_of(folder: Path) -> int:
    """Return in how many parts the hashes below a folder fit into memory."""
    return max(1, math.ceil(sum(len(run) for run in _runs(folder)) / PART))


def distinct(folder: Path, part: int, parts: int) -> Hashes:
    """Return the distinct hashes of one part, sorted."""
    first, end = edges(parts)[part : part + 2]
    # The last part has no end that 64 bits could hold.
    slices = [
        np.array(run[np.searchsorted(run, first) : np.searchsorted(run, end) if end else len(run)])
        for run in _runs(folder)
    ]
    return np.unique(np.concatenate([*slices, np.empty(0, np.uint64)]))


def _runs(folder: Path) -> Iterator[Hashes]:
    """Yield the runs one by one: each that is held takes a file descriptor, and there may be thousands."""
    for path in sorted(folder.glob("*.npy")):
        yield np.load(path, mmap_mode="r")
