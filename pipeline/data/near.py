"""Near duplicates: MinHash (Broder 1997) with banding (Leskovec et al., "Mining of Massive Datasets", chapter
3).

Two documents are candidates if all minima of one band agree, which happens with probability 1 - (1 -
J^rows)^bands for Jaccard similarity J of their word n-grams. Candidates are then compared in truth, best
document first, and a document goes only if one that stays is really like it: a chain of small changes never
swallows its far end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.config import Schema, identity
from pipeline.data.words import Hashes, mixed

if TYPE_CHECKING:
    from pipeline.data.describe import Described

CHUNK = 2048  # shingles at a time: hashes of one chunk under all permutations stay in the processor's cache
# Documents that share a bucket without being alike could be many; this many of them, the best, are compared.
MOST_LEADERS = 64

Numbers = npt.NDArray[np.int64]


class Bands(Schema):
    """How near duplicates are found."""

    ngram: int = identity(5, ge=1, description="words in a shingle (OpenWebText, datatrove: 5)")
    bands: int = identity(14, ge=1, description="FineWeb: 14 x 8, half of the pairs with J = 0.72 are found")
    rows: int = identity(8, ge=1)
    min_jaccard: float = identity(
        0.7,
        ge=0,
        le=1,
        description="true similarity of a dropped document and the kept one; 0 trusts the bands",
    )
    seed: int = identity(0, description="of the permutations")

    def probability(self, jaccard: float) -> float:
        """Return the probability that two documents of this similarity become candidates."""
        return float(1 - (1 - jaccard**self.rows) ** self.bands)


def minima(shingles: Hashes, bands: Bands) -> Hashes | None:
    """Return the least hash under each permutation (bands * rows,), None without a shingle."""
    if not len(shingles):
        return None
    factors, terms = _permutations(bands)
    least = np.full(len(factors), np.iinfo(np.uint64).max, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for start in range(0, len(shingles), CHUNK):
            hashed = factors[:, None] * shingles[None, start : start + CHUNK]
            hashed += terms[:, None]
            np.minimum(least, hashed.min(axis=1), out=least)
    return least >> np.uint64(32)  # the low bits of a product modulo 2^64 are not random; the high ones are


def band_keys(least: Hashes | None, bands: Bands) -> Hashes:
    """Return one key for each band (bands,); 0 where there is nothing to compare."""
    if least is None:
        return np.zeros(bands.bands, dtype=np.uint64)
    rows = least.reshape(bands.bands, bands.rows)
    key = np.zeros(bands.bands, dtype=np.uint64)
    for row in range(bands.rows):
        key = mixed(key ^ rows[:, row])
    return np.maximum(key, np.uint64(1))


def near_duplicates(
    described: Described, bands: Bands, places: Numbers, alive: npt.NDArray[np.bool_]
) -> Numbers:
    """Return for each document (N,) the number of the kept one that it is nearly equal to, or -1.

    Documents are taken best first, each compared with those kept before it that share a bucket; the result
    does not depend on the order of files or on how many workers described them.
    """
    keeper = np.full(len(places), -1, dtype=np.int64)
    shingles = described.ragged("shingles")
    leaders: defaultdict[int, list[int]] = defaultdict(list)
    for number, buckets in _by_document(_shared_buckets(described, bands, alive), places):
        candidates = sorted(
            {leader for bucket in buckets for leader in leaders[bucket]}, key=places.__getitem__
        )
        mine = shingles[number] if candidates else None
        for candidate in candidates:
            if bands.min_jaccard == 0 or jaccard(mine, shingles[candidate]) >= bands.min_jaccard:
                keeper[number] = candidate
                break
        else:
            for bucket in buckets:
                if len(leaders[bucket]) < MOST_LEADERS:
                    leaders[bucket].append(number)
    return keeper


def jaccard(left: Any, right: Any) -> float:
    """Return the similarity of two sorted arrays of distinct shingles."""
    common = len(np.intersect1d(left, right, assume_unique=True))
    return common / (len(left) + len(right) - common)


def _permutations(bands: Bands) -> tuple[Hashes, Hashes]:
    """Return factors (odd) and terms of the hash functions x -> factor * x + term modulo 2^64."""
    count = bands.bands * bands.rows
    numbers = mixed(np.arange(2 * count, dtype=np.uint64) + np.uint64(bands.seed << 32))
    return numbers[:count] | np.uint64(1), numbers[count:]


def _shared_buckets(
    described: Described, bands: Bands, alive: npt.NDArray[np.bool_]
) -> tuple[Numbers, Numbers]:
    """Return bucket and document of each membership in a bucket that at least two living documents share."""
    found: list[tuple[Numbers, Numbers]] = []
    next_bucket = 0
    for band in range(bands.bands):
        keys = described.band(band)
        numbers = np.flatnonzero(alive & (keys != 0))
        numbers = numbers[np.argsort(keys[numbers], kind="stable")]
        keys = keys[numbers]
        starts = (
            np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.empty(0, int)
        )
        sizes = np.diff(np.concatenate([starts, [len(keys)]]))
        bucket = np.repeat(np.arange(len(starts)), sizes)
        shared = np.repeat(sizes > 1, sizes)
        found.append((next_bucket + bucket[shared], numbers[shared]))
        next_bucket += len(starts)
    return np.concatenate([each[0] for each in found]), np.concatenate([each[1] for each in found])


def _by_document(memberships: tuple[Numbers, Numbers], places: Numbers) -> Iterator[tuple[int, list[int]]]:
    """Yield each document that shares a bucket, best first, with its buckets."""
    buckets, numbers = memberships
    order = np.argsort(places[numbers], kind="stable")
    for number, rows in groupby(order.tolist(), key=numbers.__getitem__):
        yield int(number), buckets[list(rows)].tolist()
