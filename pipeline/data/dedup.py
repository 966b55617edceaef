"""Remove duplicates: same address, same text, nearly the same text, repeated paragraphs. Then choose the
split.

Of duplicates the document with most karma stays, then the longest, then the one with the lowest id; what
earlier datasets kept comes before everything. Each pass is a row of tasks that compare hashes a range at a
time, or a stream through one process, so memory does not grow with the corpus: describe, order, exact, near,
paragraphs, rewrite.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.config import Schema, execution, identity
from pipeline.data.counts import PhaseCounts
from pipeline.data.documents import (
    ReadDocuments,
    TaskOutput,
    Text,
    WriteDocuments,
    document_files,
    merged_counts,
)
from pipeline.data.duplicates.describe import Describe, Described, paragraphs_of
from pipeline.data.duplicates.exact import write_exact
from pipeline.data.duplicates.minhash import Bands
from pipeline.data.duplicates.near import write_near
from pipeline.data.duplicates.order import REASONS, Decisions, Order, write_order
from pipeline.data.duplicates.paragraphs import FindRepeated, repeated_between
from pipeline.data.phase import PhaseRun
from pipeline.data.words import split_words
from pipeline.errors import ConfigError, FormatError
from pipeline.formats.hashes import normal_digest, normal_words
from pipeline.formats.manifest import NAME as MANIFEST
from pipeline.formats.manifest import Manifest

KEPT = Path("kept/dedup")  # where this phase leaves its documents in a dataset
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
    against: list[Path] = identity([], description="earlier datasets: nothing they keep is kept again")
    memory_limit: str = execution("1GB", pattern=r"^\d+(\.\d+)? ?[KMGT]i?B$", description="duckdb's memory")


class SplitsConfig(Schema):
    """Which share of the documents is held out. A document's split is decided by the hash of its normalised
    text.
    """

    validation: float = identity(0.005, ge=0, lt=0.5)
    test: float = identity(0.005, ge=0, lt=0.5)

    def of(self, text: str) -> str:
        """Return the split of a text, whatever else there is."""
        return self.at(int.from_bytes(normal_digest(normal_words(text))[:8], "big"))

    def at(self, digest: int) -> str:
        """Return the split of a text whose digest begins with these 64 bits."""
        place = digest / 2**64
        if place < self.test:
            return "test"
        return "validation" if place < self.test + self.validation else "train"


def inputs(config: DedupConfig) -> list[Path]:
    """Return the manifests of the earlier datasets; ConfigError names those without."""
    manifests = [dataset / MANIFEST for dataset in config.against]
    problems = [
        f"dedup.against: {path.parent}: no {MANIFEST}; name a finished dataset"
        for path in manifests
        if not path.is_file()
    ]
    if problems:
        raise ConfigError(problems)
    return manifests


def run(config: DedupConfig, splits: SplitsConfig, phase: PhaseRun) -> PhaseCounts:
    """Leave one of each group of duplicates, with its split, in a folder for each split."""
    earlier = [file for dataset in config.against for file in document_files(dataset / KEPT)]
    files = document_files(phase.source)
    output = TaskOutput(phase.kept, phase.dropped, phase.counts)
    describe = Describe(phase.work / "described", config.near, config.paragraphs.remove == "repeated")
    reading = ReadDocuments([*earlier, *files], output)
    phase.run_tasks([reading, describe], len(reading.files), "describe")
    described = Described.read(describe.folder, len(reading.files))
    _check_earlier(config.against, described)
    verdicts = decide(config, described, described.documents_in(len(earlier)), phase)
    rewrite = Rewrite(verdicts, len(earlier), config.paragraphs, splits, output)
    phase.run_tasks([ReadDocuments(files, output), rewrite, WriteDocuments(output)], len(files), "rewrite")
    return merged_counts(phase.counts, len(files))


def decide(config: DedupConfig, described: Described, earlier: int, phase: PhaseRun) -> Verdicts:
    """Find what becomes of each document and paragraph; the first `earlier` documents always stay."""
    order = Order(phase.work / "order", earlier)
    if not order.folder.exists():
        write_order(described, order, config.memory_limit)
    decided = phase.work / "exact"
    if not decided.exists():
        write_exact(described, order, config.exact, decided)
    if config.near:
        decided = write_near(config.near, described, order, decided, phase)
    if config.paragraphs.remove == "never":
        return Verdicts(described, order, decided, None)
    find = FindRepeated(described, order, decided, phase.work / "repeated")
    phase.run_tasks([find], described.slices("paragraphs"), "paragraphs")
    return Verdicts(described, order, decided, find.folder)


@dataclass(frozen=True)
class Verdicts:
    """All that was decided, to be carried out file by file."""

    described: Described
    order: Order
    decided: Path
    repeated: Path | None

    def documents(self, file: int) -> Iterator[tuple[str, str, int]]:
        """Yield for each document of a file the reason why it goes (empty: it stays), the id of the one that
        stays instead of it, and its digest.
        """
        decisions, rows = Decisions.read(self.decided), self.described.rows_of(file)
        places = self.order.places[rows.start : rows.stop]
        keepers = self.order.ids[decisions.keepers[places]].tolist()
        codes = decisions.codes[places].tolist()
        digests = self.described.digests_of(file).tolist()
        for code, keeper, digest in zip(codes, keepers, digests, strict=True):
            yield REASONS[code], _hex(keeper), digest

    def paragraphs(self, file: int) -> dict[int, str]:
        """Return the paragraphs of a file that go: number in the file -> id of the document that has it."""
        if self.repeated is None:
            return {}
        numbers = self.described.paragraphs_of_file(file)
        found = repeated_between(self.repeated, numbers.start, numbers.stop)
        keepers = map(_hex, self.order.ids[found["keeper"]].tolist())
        return dict(zip((found["paragraph"] - numbers.start).tolist(), keepers, strict=True))


@dataclass
class Rewrite:
    """A pipeline's middle step: carry out what was decided about file number `first + rank`."""

    verdicts: Verdicts
    first: int
    config: ParagraphConfig
    splits: SplitsConfig
    output: TaskOutput

    def __call__(self, data: Iterable[Any], rank: int, _world_size: int) -> Iterator[Any]:
        """Yield the documents that stay, without their repeated paragraphs and with their split."""
        repeated = self.verdicts.paragraphs(self.first + rank)
        told = self.verdicts.documents(self.first + rank)
        paragraph = 0
        for document, (reason, keeper, digest) in zip(data, told, strict=True):
            keepers: list[str | None] = []
            if repeated:
                pieces = len(paragraphs_of(document.text))
                keepers = [repeated.get(paragraph + number) for number in range(pieces)]
                paragraph += pieces
            if reason:
                document.metadata["duplicate_of"] = keeper
                self.output.drop(document, reason)
            elif not any(keepers):
                document.metadata["split"] = self.splits.at(digest)
                yield document
            elif self._without(document, keepers):
                document.metadata["split"] = self.splits.of(document.text)
                yield document
            else:
                self.output.drop(document, "little_left")

    def _without(self, document: Any, keepers: list[str | None]) -> bool:
        """Take out of a document the paragraphs that others keep; return whether enough is left."""
        pieces = paragraphs_of(document.text)
        goes = [
            keeper is not None and len(split_words(piece)) >= self.config.min_words
            for piece, keeper in zip(pieces, keepers, strict=True)
        ]
        if not any(goes):
            return True
        gone = [piece for piece, out in zip(pieces, goes, strict=True) if out]
        left = "\n\n".join(piece for piece, out in zip(pieces, goes, strict=True) if not out)
        if len(split_words(left)) < self.config.min_words_left:
            return False
        named = sorted({keeper for keeper, out in zip(keepers, goes, strict=True) if keeper and out})
        metadata = {
            "url": document.metadata["url"],
            "duplicate_of": named[:MOST_NAMED],
            "dropped_because": "paragraphs",
        }
        self.output.note(Text("\n\n".join(gone), document.id, metadata), "paragraphs")
        self.output.sums["paragraphs_removed"] += len(gone)
        self.output.sums["paragraph_bytes_removed"] += sum(len(piece.encode()) for piece in gone)
        document.text = left
        return True


def _check_earlier(datasets: Sequence[Path], described: Described) -> None:
    """Raise FormatError unless the earlier datasets still have the documents that their manifests tell of."""
    told = 0
    for dataset in datasets:
        told += sum(row["documents_out"] for row in Manifest.read(dataset).phases if row["name"] == "dedup")
    files = sum(len(document_files(dataset / KEPT)) for dataset in datasets)
    if described.documents_in(files) != told:
        names = ", ".join(map(str, datasets))
        raise FormatError(
            f"{names}: {described.documents_in(files)} documents in {KEPT}, but {told} by their manifests; "
            f"restore the folder, or build the dataset again"
        )


def _hex(halves: Sequence[int]) -> str:
    return f"{halves[0]:016x}{halves[1]:016x}"
