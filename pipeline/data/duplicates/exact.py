"""Exact duplicates: documents with the same address, and documents with the same normalised text."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.data.duplicates.arrays import Array
from pipeline.data.duplicates.describe import Described, List
from pipeline.data.duplicates.order import Decisions, Order
from pipeline.formats.hashes import Hashes
from pipeline.formats.publish import publishing


def write_exact(described: Described, order: Order, texts: bool, folder: Path) -> None:
    """Decide which documents go because a better one has their address or, among those left, their text."""
    with publishing(folder) as draft:
        decisions = Decisions.begin(draft, int(described.starts[-1]))
        _drop_repeated(described, "urls", "same_url", order, decisions)
        if texts:
            _drop_repeated(described, "texts", "exact", order, decisions)


def exact_duplicates(keys: Hashes, places: Array) -> tuple[Array, Array]:
    """Return the places of all but the best of each group with the same key, and the best of their group."""
    by = np.lexsort((places, keys))
    keys, places = keys[by], places[by]
    is_first = np.ones(len(keys), dtype=bool)
    is_first[1:] = keys[1:] != keys[:-1]
    best = places[is_first].repeat(np.diff(np.flatnonzero(is_first), append=len(keys)))
    return places[~is_first], best[~is_first]


def _drop_repeated(described: Described, name: List, reason: str, order: Order, decisions: Decisions) -> None:
    for index in range(described.slices(name)):
        keys, rows, _ = described.postings(name, index)
        places = order.places[rows]
        stays = decisions.codes[places] == 0
        gone, keepers = exact_duplicates(keys[stays], places[stays])
        is_new = gone >= order.earlier
        decisions.drop(gone[is_new], reason, keepers[is_new])
