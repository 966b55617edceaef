"""Paragraphs that stand in more than one place: only the first, in canonical order, stays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.duplicates.arrays import Array, between, numbered, write_array
from pipeline.data.duplicates.describe import Described
from pipeline.data.duplicates.order import Decisions, Order
from pipeline.formats.publish import publishing

REPEATED = np.dtype([("paragraph", "<u8"), ("keeper", "<u4")])  # keeper: the place of who has it already


@dataclass
class FindRepeated:
    """The one step of a task: find the repeated paragraphs in range number `rank` of their hashes.

    Of the documents that stay the best one keeps a paragraph, and of its own repetitions the first.
    """

    described: Described
    order: Order
    decided: Path
    folder: Path

    def __call__(self, _data: Any, rank: int, _world_size: int) -> None:
        """Write the paragraphs that go, in their order."""
        hashes, rows, paragraphs = self.described.postings("paragraphs", rank)
        places = self.order.places[rows]
        stays = Decisions.read(self.decided).codes[places] == 0
        found = repeated_paragraphs(hashes[stays], places[stays], paragraphs[stays])
        with publishing(self.folder / f"{rank:05d}") as draft:
            write_array(draft, found)


def repeated_paragraphs(hashes: Array, places: Array, paragraphs: Array) -> Array:
    """Return the paragraphs that go, sorted by their number."""
    by = np.lexsort((paragraphs, places, hashes))
    is_first = np.ones(len(by), dtype=bool)
    is_first[1:] = hashes[by[1:]] != hashes[by[:-1]]
    best = by[is_first].repeat(np.diff(np.flatnonzero(is_first), append=len(by)))
    found = np.empty(int((~is_first).sum()), dtype=REPEATED)
    found["paragraph"], found["keeper"] = paragraphs[by[~is_first]], places[best[~is_first]]
    return np.sort(found, order="paragraph")


def repeated_between(folder: Path, first: int, last: int) -> Array:
    """Return the repeated ones of the paragraphs from number `first` up to, not including, `last`."""
    pieces = [between(path, REPEATED, first, last - 1, "paragraph") for path in numbered(folder)]
    return np.sort(np.concatenate(pieces), order="paragraph")
