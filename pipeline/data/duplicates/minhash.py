"""MinHash (Broder 1997) with banding (Leskovec et al., "Mining of Massive Datasets", chapter 3).

Two documents share a bucket if all minima of one band agree, which happens with probability 1 - (1 -
J^rows)^bands for Jaccard similarity J of their word n-grams.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.config import Schema, identity
from pipeline.formats.hashes import Hashes, mixed

BLOCK = 1 << 16  # shingles hashed at a time: enough to forget numpy's overhead, few enough for the cache


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


def bucket_keys(shingles: Sequence[Hashes], bands: Bands) -> Hashes:
    """Return the buckets of each document (documents, bands); every document has a shingle at least."""
    keys = np.empty((len(shingles), bands.bands), dtype=np.uint64)
    for first, last in _blocks(shingles):
        keys[first:last] = _keys(_minima(shingles[first:last], bands), bands).T
    return keys


def _blocks(shingles: Sequence[Hashes]) -> Iterator[tuple[int, int]]:
    """Yield first and last (excluded) of runs of documents that fill a block."""
    first = size = 0
    for number, each in enumerate(shingles, start=1):
        size += len(each)
        if size >= BLOCK or number == len(shingles):
            yield first, number
            first, size = number, 0


def _minima(shingles: Sequence[Hashes], bands: Bands) -> Hashes:
    """Return the least hash under each permutation (bands * rows, documents)."""
    joined = np.concatenate(shingles)
    starts = np.cumsum([0, *map(len, shingles[:-1])])
    factors, terms = _permutations(bands)
    least = np.empty((len(factors), len(shingles)), dtype=np.uint64)
    hashed = np.empty_like(joined)
    for number, (factor, term) in enumerate(zip(factors, terms, strict=True)):
        np.multiply(joined, factor, out=hashed)
        np.add(hashed, term, out=hashed)
        np.minimum.reduceat(hashed, starts, out=least[number])
    return least >> np.uint64(32)  # the low bits of a product modulo 2^64 are not random; the high ones are


def _keys(least: Hashes, bands: Bands) -> Hashes:
    """Return one key for each band (bands, documents); a band's number is part of its keys."""
    rows = least.reshape(bands.bands, bands.rows, -1)
    keys = np.repeat(mixed(np.arange(bands.bands)), rows.shape[2]).reshape(bands.bands, -1)
    for row in range(bands.rows):
        keys = mixed(keys ^ rows[:, row])
    return keys


def _permutations(bands: Bands) -> tuple[Hashes, Hashes]:
    """Return factors (odd) and terms of the hash functions x -> factor * x + term modulo 2^64."""
    count = bands.bands * bands.rows
    numbers = mixed(np.arange(2 * count, dtype=np.uint64) + np.uint64(bands.seed << 32))
    return numbers[:count] | np.uint64(1), numbers[count:]
