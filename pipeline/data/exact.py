"""Exact duplicates: documents whose keys (two 64-bit halves of a hash) are the same."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def exact_duplicates(
    keys: npt.NDArray[np.uint64], places: npt.NDArray[np.int64], alive: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Return for each document (N,) the number of the living one with the same key (N, 2) that comes first,
    or -1.

    `places` (N,) is the canonical order: of each group the one with the lowest place stays.
    """
    keeper = np.full(len(keys), -1, dtype=np.int64)
    numbers = np.flatnonzero(alive)
    order = numbers[np.lexsort((places[numbers], keys[numbers, 1], keys[numbers, 0]))]
    ordered = keys[order]
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    first_of_group = order[np.flatnonzero(is_first)[np.cumsum(is_first) - 1]] if len(order) else order
    keeper[order[~is_first]] = first_of_group[~is_first]
    return keeper
