"""Documents that are already there, in files or a dataset of somebody else's, as documents of ours.

A task reads one slice. What it keeps is cut into files of bounded size, for the phases after this one have a
task for each file: one large compressed file, which only one task can read, keeps all of them busy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from pipeline.data.counts import PhaseCounts
from pipeline.data.documents import SUFFIX, TaskOutput, Text, line_of, merged_counts, writing_documents
from pipeline.data.extract import document_id
from pipeline.data.phase import PhaseRun
from pipeline.data.rows import Broken
from pipeline.errors import ConfigError, StageError

FILE_BYTES = 64 << 20
SAMPLES = 100  # broken documents that are kept to be looked at, for each reason and slice

Slice: TypeAlias = Callable[[], Iterator[Text | Broken]]


class Reader(Protocol):
    """A form of documents; `max_lost` is the share of broken ones above which something must be wrong."""

    max_lost: float

    def slices(self, files: Sequence[Path]) -> list[Slice]:
        """Return what a task each reads. It must follow from the files alone, and can be pickled."""


def run(reader: Reader, files: Sequence[Path], phase: PhaseRun) -> PhaseCounts:
    """Write `documents/`; StageError if more than the share `max_lost` is broken, ConfigError if there is
    nothing to read.
    """
    slices = reader.slices(files)
    if not slices:
        raise ConfigError("read: nothing to read; name files, folders or glob patterns in `paths`")
    reading = ReadSlices(slices, phase.dataset / "documents", phase.dropped, phase.counts)
    phase.run_tasks([reading], len(slices))
    counts = merged_counts(phase.counts, len(slices))
    lost = sum(counts.dropped.values())
    if counts.documents_in and lost / counts.documents_in > reader.max_lost:
        reasons = ", ".join(f"{reason} {number}" for reason, number in sorted(counts.dropped.items()))
        raise StageError(
            f"read: {lost} of {counts.documents_in} documents could not be read ({reasons}); at most a share "
            f"of {reader.max_lost} may: look into {phase.dropped}, correct the keys, or raise read.max_lost"
        )
    return counts


@dataclass
class ReadSlices:
    """A pipeline of one step: the documents of slice number `rank`, in files of `FILE_BYTES` of text."""

    slices: Sequence[Slice]
    kept: Path
    dropped: Path
    counts: Path

    def __call__(self, _data: Any, rank: int, _world_size: int) -> None:
        """Write what can be read, and an account of the rest."""
        output = TaskOutput(self.kept, self.dropped, self.counts)
        output.begin(rank)
        try:
            documents = _readable(self.slices[rank](), output)
            for number, some in groupby(documents, key=lambda _: output.sums["bytes_out"] // FILE_BYTES):
                with writing_documents(self.kept / f"{rank:05d}-{number:05d}{SUFFIX}") as file:
                    for document in some:
                        file.write(line_of(document))
                        output.documents_out += 1
                        output.sums["bytes_out"] += len(document.text.encode())
        except BaseException as fault:
            output.abandon(fault)
            raise
        output.publish()


def _readable(found: Iterator[Text | Broken], output: TaskOutput) -> Iterator[Text]:
    """Yield the documents and count all that was found; of what is broken, samples are kept."""
    for item in found:
        output.documents_in += 1
        if isinstance(item, Text):
            yield item
            continue
        output.reasons[item.reason] += 1
        if output.reasons[item.reason] <= SAMPLES:
            metadata = {"canonical_url": item.place, "detail": item.detail, "dropped_because": item.reason}
            output.note(Text("", document_id(item.place), metadata), item.reason)
