"""Remove duplicates: same address, same text, nearly the same text, repeated paragraphs. Then choose the
split.

Of duplicates the document with most karma stays, then the longest, then the one with the lowest id. Three
passes: describe each document by hashes (parallel), decide (one process, arrays only), rewrite (parallel).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.config import Schema, identity
from pipeline.data.counts import PhaseCounts
from pipeline.data.describe import Describe, Described, paragraphs_of
from pipeline.data.documents import (
    ReadDocuments,
    TaskOutput,
    Text,
    WriteDocuments,
    document_files,
    merged_counts,
)
from pipeline.data.exact import exact_duplicates
from pipeline.data.near import Bands, near_duplicates
from pipeline.data.paragraphs import repeated_paragraphs
from pipeline.data.phase import PhaseRun
from pipeline.data.words import normal_digest, normal_words, split_words
from pipeline.formats.publish import publishing

REASONS = ("", "same_url", "exact", "near")  # by code, in the order in which they are looked for
MOST_NAMED = 20  # documents named as the keepers of one document's removed paragraphs


class ParagraphConfig(Schema):
    """What happens to paragraphs that other documents have too."""

    remove: Literal["repeated", "never"] = identity("repeated", description="`never` leaves every paragraph")
    min_words: int = identity(1, ge=0, description="paragraphs with fewer words stay wherever they stand")
    min_words_left: int = identity(50, ge=0, description="a document with fewer words left is dropped")


class DedupConfig(Schema):
    """What counts as a duplicate."""

    exact: bool = identity(True, description="drop documents with the same normalised words")
    near: Bands | None = identity(Bands(), description="near duplicates; null looks for none")
    paragraphs: ParagraphConfig = identity(ParagraphConfig())


class SplitsConfig(Schema):
    """Which share of the documents is held out. A document's split is decided by the hash of its normalised
    text.
    """

    validation: float = identity(0.005, ge=0, lt=0.5)
    test: float = identity(0.005, ge=0, lt=0.5)

    def of(self, text: str) -> str:
        """Return the split of a text, whatever else there is."""
        place = int.from_bytes(normal_digest(normal_words(text)), "big") / 2**128
        if place < self.test:
            return "test"
        return "validation" if place < self.test + self.validation else "train"


def run(config: DedupConfig, splits: SplitsConfig, phase: PhaseRun) -> PhaseCounts:
    """Leave one of each group of duplicates, with its split, in a folder for each split."""
    files = document_files(phase.source)
    described, decided = phase.work / "described", phase.work / "decided"
    bands = config.near or Bands()
    output = TaskOutput(phase.kept, phase.dropped, phase.counts)
    phase.run_tasks([ReadDocuments(files, output), Describe(described, bands)], len(files), "describe")
    if not decided.exists():
        decide(config, described, len(files), decided)
    rewrite = Rewrite(decided, config.paragraphs, splits, output)
    phase.run_tasks([ReadDocuments(files, output), rewrite, WriteDocuments(output)], len(files), "rewrite")
    return merged_counts(phase.counts, len(files))


def decide(config: DedupConfig, described_folder: Path, files: int, decided: Path) -> None:
    """Write for each file what becomes of its documents and paragraphs."""
    described = Described.read(described_folder, files)
    places = described.best_first()
    alive = np.ones(len(places), dtype=bool)
    codes = np.zeros(len(places), dtype=np.int8)
    keepers = np.full(len(places), -1, dtype=np.int64)

    def drop(code: int, found: Any) -> None:
        gone = found >= 0
        codes[gone], keepers[gone], alive[gone] = code, found[gone], False

    drop(REASONS.index("same_url"), exact_duplicates(described.ids, places, alive))
    if config.exact:
        drop(REASONS.index("exact"), exact_duplicates(described.digests, places, alive))
    if config.near:
        drop(REASONS.index("near"), near_duplicates(described, config.near, places, alive))
    if config.paragraphs.remove == "repeated":
        repeated = repeated_paragraphs(described, places, alive)
    else:
        repeated = [np.full(len(values), -1) for values in described.ragged("paragraphs").values]
    _write_decisions(described, codes, keepers, repeated, decided)


def _write_decisions(
    described: Described, codes: Any, keepers: Any, repeated: Sequence[Any], decided: Path
) -> None:
    ids = np.concatenate(
        [described.ids, np.zeros((1, 2), np.uint64)]
    )  # number -1, nobody, reads the last row
    starts = np.concatenate([[0], np.cumsum(described.counts)])
    with publishing(decided) as draft:
        draft.mkdir()
        for file, (start, end) in enumerate(zip(starts[:-1], starts[1:], strict=True)):
            np.savez(
                draft / f"{file:05d}.npz",
                codes=codes[start:end],
                keepers=ids[keepers[start:end]],
                repeated=repeated[file] >= 0,
                paragraph_keepers=ids[repeated[file][repeated[file] >= 0]],
            )


@dataclass
class Rewrite:
    """A pipeline's middle step: carry out what `decide` wrote for file number `rank`."""

    decided: Path
    config: ParagraphConfig
    splits: SplitsConfig
    output: TaskOutput

    def __call__(self, data: Iterable[Any], rank: int, _world_size: int) -> Iterator[Any]:
        """Yield the documents that stay, without their repeated paragraphs and with their split."""
        decisions = dict(np.load(self.decided / f"{rank:05d}.npz"))
        paragraph = removed = 0
        for number, document in enumerate(data):
            pieces = paragraphs_of(document.text)
            repeated = decisions["repeated"][paragraph : paragraph + len(pieces)]
            keepers = decisions["paragraph_keepers"][removed : removed + int(repeated.sum())]
            paragraph, removed = paragraph + len(pieces), removed + len(keepers)
            code = int(decisions["codes"][number])
            if code:
                document.metadata["duplicate_of"] = _hex(decisions["keepers"][number])
                self.output.drop(document, REASONS[code])
            elif self._without(document, pieces, repeated, keepers):
                document.metadata["split"] = self.splits.of(document.text)
                yield document
            else:
                self.output.drop(document, "little_left")

    def _without(self, document: Any, pieces: list[str], repeated: Any, keepers: Any) -> bool:
        """Take the repeated paragraphs out of a document; return whether enough is left."""
        goes = [
            again and len(split_words(piece)) >= self.config.min_words
            for piece, again in zip(pieces, repeated, strict=True)
        ]
        if not any(goes):
            return True
        gone = [piece for piece, out in zip(pieces, goes, strict=True) if out]
        left = "\n\n".join(piece for piece, out in zip(pieces, goes, strict=True) if not out)
        if len(split_words(left)) < self.config.min_words_left:
            return False
        named = sorted({_hex(keeper) for keeper in keepers})[:MOST_NAMED]
        metadata = {"url": document.metadata["url"], "duplicate_of": named, "dropped_because": "paragraphs"}
        self.output.note(Text("\n\n".join(gone), document.id, metadata), "paragraphs")
        self.output.sums["paragraphs_removed"] += len(gone)
        self.output.sums["paragraph_bytes_removed"] += sum(len(piece.encode()) for piece in gone)
        document.text = left
        return True


def _hex(halves: Any) -> str:
    return f"{int(halves[0]):016x}{int(halves[1]):016x}"
