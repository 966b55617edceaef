"""Paragraphs that stand in more than one place: only the first, in canonical order, stays."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pipeline.data.describe import Described

PART = (
    16 << 20
)  # paragraphs compared at a time: 16 million take 0.7 GB; more of them, more passes over the hashes


def repeated_paragraphs(
    described: Described, places: npt.NDArray[np.int64], alive: npt.NDArray[np.bool_]
) -> list[npt.NDArray[np.int64]]:
    """Return for each file, paragraph by paragraph, the number of the document that has it already, or -1.

    Among living documents the best one keeps a paragraph, and of its own repetitions the first.
    """
    ragged = described.ragged("paragraphs")
    keepers = [np.full(len(values), -1, dtype=np.int64) for values in ragged.values]
    parts = max(1, math.ceil(sum(map(len, keepers)) / PART))
    for part in range(parts):
        pieces = list(_living(described, alive, part, parts))
        if not pieces:
            continue
        hashes, numbers, files, positions = (np.concatenate(column) for column in zip(*pieces, strict=True))
        order = np.lexsort((positions, places[numbers], hashes))
        same = np.zeros(len(order), dtype=bool)
        same[1:] = hashes[order[1:]] == hashes[order[:-1]]
        first = order[np.flatnonzero(~same)[np.cumsum(~same) - 1]]
        again = order[same]
        for file in range(len(keepers)):
            here = files[again] == file
            keepers[file][positions[again[here]]] = numbers[first[same][here]]
    return keepers


def _living(
    described: Described, alive: npt.NDArray[np.bool_], part: int, parts: int
) -> Iterator[tuple[npt.NDArray[Any], ...]]:
    """Yield hash, document, file and position of the paragraphs of living documents in one part of the hash
    space.
    """
    ragged = described.ragged("paragraphs")
    start = 0
    for file, (values, ends) in enumerate(zip(ragged.values, ragged.ends, strict=True)):
        numbers = start + np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
        chosen = alive[numbers] & (np.asarray(values) % np.uint64(parts) == part)
        positions = np.flatnonzero(chosen)
        yield np.asarray(values)[chosen], numbers[chosen], np.full(len(positions), file), positions
        start += len(ends)
