"""The GPT-2 paper's Bloom filter (section 4): all n-grams of the training documents, small enough to keep.

A filter of m bits that holds n elements at k bits each finds a foreign one with probability (1 - e^(-kn/m))^k
(Bloom 1970, in the limit of large m). It is built a part of the hash space at a time, so memory does not grow
with the corpus: tasks write the n-grams' hashes to disk, others fill one part each. A part is a filter of its
own, as large as its distinct n-grams ask for.

An n-gram stands for itself by 64 bits of hash; of 7 billion of them one foreign n-gram in 2.6 billion meets
one by that alone, which adds 4e-10 to the false positives.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config import Schema, execution, identity
from pipeline.data.documents import document_files, read_documents
from pipeline.data.phase import PhaseRun
from pipeline.data.spill import by_part, distinct, parts_of, spilling
from pipeline.data.words import Hashes, mixed, ngram_hashes, normal_words, word_hashes
from pipeline.errors import StageError
from pipeline.formats.publish import publishing, read_json, write_json

NAME = "bloom"
PROBES = 1_000_000  # foreign n-grams asked for at the end, as the paper did
_CHUNK = 1 << 18
_STREAM = np.uint64(0xD1B54A32D192ED03)  # odd: every hash starts a sequence of its own

log = logging.getLogger("loglinear.data")


class BloomConfig(Schema):
    """How rarely the filter may be wrong, and how large it may be."""

    max_false_positive_rate: float = identity(1e-8, gt=0, lt=1, description="GPT-2 paper: 1e-8")
    max_bytes: int = execution(64 << 30, ge=1, description="a larger filter is refused before it is built")

    def size_bytes(self, ngrams: int) -> int:
        """Return what a filter of this many n-grams takes, about."""
        return math.ceil(ngrams * shape(self.max_false_positive_rate)[1] / 8)

    def told(self, ngrams: int) -> str:
        """Return the filter's size for people, before it is built."""
        hashes, bits = shape(self.max_false_positive_rate)
        return (
            f"Bloom filter of {ngrams:,} n-grams at {self.max_false_positive_rate:g} false positives: "
            f"at most {self.size_bytes(ngrams) / 1e9:,.3f} GB ({bits:.2f} bits an n-gram, {hashes} hashes), "
            f"and {8 * ngrams / 1e9:,.3f} GB of disk while it is built"
        )


def shape(rate: float) -> tuple[int, float]:
    """Return the number of hashes and the bits for each element that a rate of false positives takes.

    From (1 - e^(-k/b))^k = rate the bits are b = -k / ln(1 - rate^(1/k)); the best real k is log2(1 / rate).
    """
    best = -math.log2(rate)
    candidates = {max(1, math.floor(best)), math.ceil(best)}
    return min(((k, -k / math.log1p(-(rate ** (1 / k)))) for k in candidates), key=lambda each: each[1])


def run(config: BloomConfig, ngram: int, ngrams: int, phase: PhaseRun) -> Bloom:
    """Build the filter of what the phase kept for training; StageError if it would be too large.

    `ngrams` counts them with repetitions, so the filter is never larger than told.
    """
    log.info("%s", config.told(ngrams))
    if config.size_bytes(ngrams) > config.max_bytes:
        raise StageError(
            f"{config.told(ngrams)}; decontaminate.bloom.max_bytes is {config.max_bytes / 1e9:,.3f} GB: "
            f"raise it, allow more false positives, or leave the filter out (the exact overlap needs none)"
        )
    files, folder, hashes = document_files(phase.kept / "train"), phase.kept / NAME, phase.work / "ngrams"
    phase.run_tasks([SpillNgrams(files, ngram, hashes)], len(files), "n-grams")
    parts = parts_of(hashes)
    phase.run_tasks([FillPart(hashes, parts, config.max_false_positive_rate, folder)], parts, NAME)
    elements = [read_json(_part_path(folder, part, ".json")) for part in range(parts)]
    rate = config.max_false_positive_rate
    write_json(folder / "bloom.json", {"ngram": ngram, "rate": rate, "elements": elements})
    return Bloom.read(folder)


@dataclass
class SpillNgrams:
    """A pipeline's only step: the n-grams of document file number `rank`, as hashes on disk."""

    files: list[Path]
    ngram: int
    folder: Path

    def __call__(self, _data: Any, rank: int, _world_size: int) -> None:
        """Write them."""
        with spilling(self.folder, rank) as spill:
            for document in read_documents(self.files[rank]):
                spill.add(ngram_hashes(word_hashes(normal_words(document.text)), self.ngram))


@dataclass
class FillPart:
    """A pipeline's only step: part number `rank` of the filter."""

    hashes: Path
    parts: int
    rate: float
    folder: Path

    def __call__(self, _data: Any, rank: int, _world_size: int) -> None:
        """Write the bits, then the number of elements."""
        elements = distinct(self.hashes, rank, self.parts)
        count, bits = shape(self.rate)
        field = np.zeros(1 + math.ceil(len(elements) * bits / 8), dtype=np.uint8)
        for start in range(0, len(elements), _CHUNK):
            for number in range(count):
                places = position(elements[start : start + _CHUNK], number, 8 * len(field))
                np.bitwise_or.at(field, places >> np.uint64(3), _bit(places))
        with publishing(_part_path(self.folder, rank, ".bits")) as draft:
            field.tofile(draft)
        write_json(_part_path(self.folder, rank, ".json"), len(elements))


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
        meta = read_json(folder / "bloom.json")
        return cls(meta["ngram"], meta["rate"], meta["elements"], folder)

    def field(self, part: int) -> npt.NDArray[np.uint8]:
        """Return the bits of a part, memory-mapped."""
        return np.memmap(_part_path(self.folder, part, ".bits"), dtype=np.uint8, mode="r")

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


def _bit(places: Hashes) -> npt.NDArray[np.uint8]:
    return np.left_shift(np.uint8(1), (places & np.uint64(7)).astype(np.uint8))


def _part_path(folder: Path, part: int, ending: str) -> Path:
    return folder / f"{part:05d}{ending}"
