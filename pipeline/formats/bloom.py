"""A Bloom filter on disk: which n-grams a corpus has, in about 38 bits each, and rarely one more.

A filter of m bits that holds n elements at k bits each finds a foreign one with probability (1 - e^(-kn/m))^k
(Bloom 1970, in the limit of large m). It lies in parts of the hash space, each a filter of its own:

bloom.json           n-gram length, rate of false positives, elements of each part
00000.bits …         the bits of a part
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.formats.hashes import Hashes, by_part, mixed
from pipeline.formats.publish import publishing, read_json, write_json

META = "bloom.json"
PROBES = 1_000_000  # foreign n-grams asked for at the end, as the GPT-2 paper did (section 4)
_CHUNK = 1 << 18
_STREAM = np.uint64(0xD1B54A32D192ED03)  # odd: every hash starts a sequence of its own

Field = npt.NDArray[np.uint8]


def shape(rate: float) -> tuple[int, float]:
    """Return the number of hashes and the bits for each element that a rate of false positives takes.

    From (1 - e^(-k/b))^k = rate the bits are b = -k / ln(1 - rate^(1/k)); the best real k is log2(1 / rate).
    """
    best = -math.log2(rate)
    candidates = {max(1, math.floor(best)), math.ceil(best)}
    return min(((k, -k / math.log1p(-(rate ** (1 / k)))) for k in candidates), key=lambda each: each[1])


def empty_field(elements: int, rate: float) -> Field:
    """Return the bits of a part before anything is in it, enough for so many elements."""
    _, bits = shape(rate)
    return np.zeros(1 + math.ceil(elements * bits / 8), dtype=np.uint8)


def insert(field: Field, hashes: Hashes, rate: float) -> None:
    """Put hashes into a part; its bits must have been made for this rate."""
    count, _ = shape(rate)
    for start in range(0, len(hashes), _CHUNK):
        for number in range(count):
            places = position(hashes[start : start + _CHUNK], number, 8 * len(field))
            np.bitwise_or.at(field, places >> np.uint64(3), _bit(places))


def elements_of(field: Field, rate: float) -> int:
    """Return about how many distinct hashes were put into a part, from its share of set bits.

    Swamidass and Baldi 2007: n = -m / k · ln(1 - set / m).
    """
    bits, count = 8 * len(field), shape(rate)[0]
    ones = min(int(np.bitwise_count(field).sum()), bits - 1)
    return round(-bits / count * math.log1p(-ones / bits))


def write_part(folder: Path, part: int, field: Field) -> None:
    """Publish the bits of a part."""
    with publishing(_part_path(folder, part)) as draft:
        field.tofile(draft)


def write_meta(folder: Path, ngram: int, rate: float, elements: list[int]) -> None:
    """Publish what the parts hold, once all are written: from here on the filter is whole."""
    write_json(folder / META, {"ngram": ngram, "rate": rate, "elements": elements})


@dataclass(frozen=True)
class Bloom:
    """A filter on disk: which n-grams the training documents have, and rarely one more."""

    ngram: int
    rate: float
    elements: list[int]  # distinct n-grams of each part
    folder: Path

    @classmethod
    def read(cls, folder: Path) -> Bloom:
        """Open the filter of a folder."""
        meta = read_json(folder / META)
        return cls(meta["ngram"], meta["rate"], meta["elements"], folder)

    def field(self, part: int) -> Field:
        """Return the bits of a part, memory-mapped."""
        return np.memmap(_part_path(self.folder, part), dtype=np.uint8, mode="r")

    def contains(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        """Return which n-grams (by `ngram_hashes`) are in the filter, or seem to be."""
        found = np.zeros(len(hashes), dtype=bool)
        count, _ = shape(self.rate)
        for part, left in by_part(hashes, len(self.elements)):
            field = self.field(part)
            for number in range(count):
                bits = position(hashes[left], number, 8 * len(field))
                left = left[field[bits >> np.uint64(3)] & _bit(bits) != 0]
            found[left] = True
        return found

    def summary(self) -> dict[str, Any]:
        """Return what the datasheet tells, with the answer to foreign n-grams."""
        foreign = mixed(mixed(np.arange(PROBES, dtype=np.uint64)))
        return {
            "elements": sum(self.elements),
            "bytes": sum(len(self.field(part)) for part in range(len(self.elements))),
            "parts": len(self.elements),
            "hashes": shape(self.rate)[0],
            "max_false_positive_rate": self.rate,
            "foreign_asked": PROBES,
            "foreign_found": int(self.contains(foreign).sum()),
        }


def position(hashes: Hashes, number: int, bits: int) -> Hashes:
    """Return bit number `number` of each element, in a field of fewer than 2^32 bits."""
    with np.errstate(over="ignore"):
        return (mixed(hashes + np.uint64(number) * _STREAM) >> np.uint64(32)) * np.uint64(bits) >> np.uint64(
            32
        )


def _bit(places: Hashes) -> Field:
    return np.left_shift(np.uint8(1), (places & np.uint64(7)).astype(np.uint8))


def _part_path(folder: Path, part: int) -> Path:
    return folder / f"{part:05d}.bits"
