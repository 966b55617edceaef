"""Drop the documents that the configured filters reject, each kept under its reason.

A filter is a file of `filters/` with a `Config`: its thresholds, and `build()`, which returns a datatrove
pipeline step; one that reads files names them by `inputs()`. Beside it stand `KEEPS` and `DROPS`, examples
that a contract test runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from pipeline.config import kind_name
from pipeline.data.counts import PhaseCounts
from pipeline.data.documents import ReadDocuments, TaskOutput, WriteDocuments, document_files, merged_counts
from pipeline.data.phase import PhaseRun


class Filter(Protocol):
    """A reason to drop a document."""

    def build(self) -> Any:
        """Return the datatrove pipeline step; what it needs is imported here."""


def run(filters: Sequence[Filter], phase: PhaseRun) -> PhaseCounts:
    """Pass every document through the filters in their order; the first that rejects it gives the reason."""
    files = document_files(phase.source)
    output = TaskOutput(phase.kept, phase.dropped, phase.counts)
    steps = [
        ReadDocuments(files, output),
        *(guarded(each, output) for each in filters),
        WriteDocuments(output),
    ]
    phase.run_tasks(steps, len(files))
    return merged_counts(phase.counts, len(files))


def guarded(config: Filter, output: TaskOutput) -> Any:
    """Return a filter's step with its rejects led to the task's output; steps that drop nothing stay as they
    are.
    """
    from datatrove.pipeline.filters.base_filter import BaseFilter

    from pipeline.data.rule import Guarded

    step = config.build()
    return Guarded(kind_name(config), step, output) if isinstance(step, BaseFilter) else step


def inputs(filters: Sequence[Filter]) -> list[Path]:
    """Return the files that the filters read."""
    return [path for each in filters for path in getattr(each, "inputs", list)()]
