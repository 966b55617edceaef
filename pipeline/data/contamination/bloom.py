"""The GPT-2 paper's Bloom filter (section 4): all n-grams of the training documents, small enough to keep.

It is built a part of the hash space at a time, so memory does not grow with the corpus: tasks write the
n-grams' hashes to disk, others fill one part each. A part is a filter of its own, as large as its distinct
n-grams ask for.

An n-gram stands for itself by 64 bits of hash; of 7 billion of them one foreign n-gram in 2.6 billion meets
one by that alone, which adds 4e-10 to the false positives.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import Schema, execution, identity
from pipeline.data.documents import document_files, read_documents
from pipeline.data.phase import PhaseRun
from pipeline.data.spill import distinct, parts_of, spilling
from pipeline.errors import StageError
from pipeline.formats.bloom import Bloom, empty_field, insert, shape, write_meta, write_part
from pipeline.formats.hashes import ngram_hashes, normal_words, word_hashes
from pipeline.formats.publish import read_json, write_json

NAME = "bloom"

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
    elements = [read_json(_count_path(folder, part)) for part in range(parts)]
    write_meta(folder, ngram, config.max_false_positive_rate, elements)
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
        field = empty_field(len(elements), self.rate)
        insert(field, elements, self.rate)
        write_part(self.folder, rank, field)
        write_json(_count_path(self.folder, rank), len(elements))


def _count_path(folder: Path, part: int) -> Path:
    return folder / f"{part:05d}.json"
