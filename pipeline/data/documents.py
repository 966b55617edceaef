"""Documents on disk: JSON lines in checksummed zstd frames, in datatrove's layout, and what one task does
with them.

A task reads one file (`ReadDocuments`), and all it writes (kept documents, dropped ones by reason, the
account of both) goes through one `TaskOutput`, published when the task ends and not before.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import orjson

from pipeline.data.counts import PhaseCounts
from pipeline.errors import FormatError
from pipeline.formats.publish import publishing, read_json, write_json
from pipeline.formats.typed import inside

SUFFIX = ".jsonl.zst"
LEVEL = 3  # zstd's own default: 1 saves little time here, 9 costs more time than the whole of a filter

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    # Not `zstandard`: its reader ends without a word where a file was cut off.
    from backports import zstd


@dataclass(slots=True)
class Text:
    """A document between phases: the fields of datatrove's `Document` that we use, importable in no time."""

    text: str
    id: str
    metadata: dict[str, Any] = field(default_factory=dict)


def document_files(folder: Path) -> list[Path]:
    """Return the document files below a folder, in an order that does not depend on the file system."""
    return sorted(folder.rglob(f"*{SUFFIX}"))


def read_documents(path: Path) -> Iterator[Any]:
    """Yield the documents of one file; FormatError if it is cut off, damaged or holds no documents."""
    from datatrove.data import Document

    place = 0
    try:
        with zstd.open(path, "rb") as lines:
            for place, line in enumerate(lines, start=1):  # noqa: B007 - the message below wants it
                row = orjson.loads(line)
                yield Document(text=row["text"], id=row["id"], metadata=row["metadata"])
    except (EOFError, zstd.ZstdError, orjson.JSONDecodeError, KeyError, TypeError) as fault:
        remedy = "remove the file and the phase's mark, and run the same command again"
        raise FormatError(f"{path}:{place + 1}: {type(fault).__name__}: {fault}; {remedy}") from None


@contextmanager
def writing_documents(path: Path) -> Iterator[Any]:
    """Yield a binary file to which `line_of` documents are written; it appears at `path` when whole."""
    parameters = zstd.CompressionParameter
    options: dict[int, int] = {parameters.compression_level: LEVEL, parameters.checksum_flag: 1}
    with publishing(path) as draft:
        with zstd.open(draft, "wb", options=options) as file:
            yield file
        if not draft.stat().st_size:
            draft.write_bytes(
                zstd.compress(b"")
            )  # no documents are a frame too; no bytes would be a cut-off file


def line_of(document: Any) -> bytes:
    """Return a document as its line on disk."""
    row = {"text": document.text, "id": document.id, "metadata": document.metadata}
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


class TaskOutput:
    """Everything that one task writes; one object is shared by the steps of a pipeline."""

    def __init__(self, kept: Path, dropped: Path, counts: Path):
        self._kept, self._dropped, self._counts = kept, dropped, counts
        self._rank = 0
        self._stack = ExitStack()
        self._files: dict[tuple[Path, str], IO[bytes]] = {}
        self.documents_in = self.documents_out = 0
        self.reasons: Counter[str] = Counter()
        self.sums: Counter[str] = Counter()

    def begin(self, rank: int) -> None:
        """Start the task of this rank: its files are called after it."""
        self._rank = rank

    def keep(self, document: Any, folder: str = "") -> None:
        """Write a document to the kept ones."""
        self.documents_out += 1
        self.sums["bytes_out"] += self._write(self._kept, folder, document)

    def drop(self, document: Any, reason: str) -> None:
        """Write a document to the dropped ones of a reason."""
        self.reasons[reason] += 1
        document.metadata["dropped_because"] = reason
        self._write(self._dropped, reason, document)

    def note(self, document: Any, folder: str) -> None:
        """Write a removed part of a document that itself goes on; it counts in no account."""
        self._write(self._dropped, folder, document)

    def publish(self) -> None:
        """Make everything visible: the documents first, the account last."""
        self._stack.close()
        counts = PhaseCounts(
            documents_in=self.documents_in,
            documents_out=self.documents_out,
            dropped=self.reasons,
            extra=self.sums,
        )
        write_json(self._counts / f"{self._rank:05d}.json", counts.to_json())

    def abandon(self, fault: BaseException) -> None:
        """Leave nothing behind."""
        self._stack.__exit__(type(fault), fault, fault.__traceback__)

    def _write(self, root: Path, folder: str, document: Any) -> int:
        key = (root, folder)
        if key not in self._files:
            path = (inside(root, folder, root) if folder else root) / f"{self._rank:05d}{SUFFIX}"
            self._files[key] = self._stack.enter_context(writing_documents(path))
        self._files[key].write(line_of(document))
        return len(document.text.encode())


@dataclass
class ReadDocuments:
    """The first step of a pipeline: the documents of file number `rank`."""

    files: Sequence[Path]
    output: TaskOutput

    def __call__(self, _data: Any, rank: int, _world_size: int) -> Iterator[Any]:
        """Yield the documents of this task's file and count them in."""
        for document in read_documents(self.files[rank]):
            self.output.documents_in += 1
            yield document


@dataclass
class WriteDocuments:
    """The last step of a pipeline: keep what arrives, then publish all that the task wrote."""

    output: TaskOutput

    def __call__(self, data: Iterable[Any], rank: int, _world_size: int) -> None:
        """Consume the pipeline."""
        self.output.begin(rank)
        try:
            for document in data:
                self.output.keep(document, document.metadata.get("split", ""))
        except BaseException as fault:
            self.output.abandon(fault)
            raise
        self.output.publish()


def merged_counts(folder: Path, tasks: int) -> PhaseCounts:
    """Return the sum of all tasks' accounts; datatrove's own statistics do not outlive a failed task."""
    parts = [PhaseCounts.from_json(read_json(folder / f"{rank:05d}.json")) for rank in range(tasks)]
    dropped: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    for part in parts:
        dropped.update(part.dropped)
        sums.update(part.extra)
    return PhaseCounts(
        documents_in=sum(part.documents_in for part in parts),
        documents_out=sum(part.documents_out for part in parts),
        dropped=dropped,
        extra=sums,
    )
