"""GLUE's average over fine-tunings that lie side by side: those of one network, by one recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import FormatError
from pipeline.formats import glue
from pipeline.formats.paper_gpt1 import BEFORE, OURS
from pipeline.formats.summary import NAME as SUMMARY
from pipeline.formats.summary import Figure, Summary
from pipeline.metrics import Estimate
from pipeline.report import numbers
from pipeline.report.section import Block, Heading, Note, Table

PREFIX = "finetune/"
ROWS = (OURS, BEFORE)


def blocks(directory: Path) -> list[Block]:
    """Return the average with all its columns, or what is missing for it; nothing for what is not of GLUE."""
    path = directory / SUMMARY
    own = Summary.read(path) if path.is_file() else None
    if own is None or own.task.removeprefix(PREFIX) not in glue.TASKS:
        return []
    found = beside(directory, own)
    averages = glue.averages(found)
    if missing := glue.without(averages):
        remedy = "Fine-tunings of the same network by the same recipe count that lie beside this one."
        return [Note(f"{missing} {remedy}")]
    columns = [
        (f"{task}: {' and '.join(metric for _, metric in wanted)}", [found[task][one] for one in wanted])
        for task, wanted in glue.TASKS.items()
    ]
    rows = [(name, " / ".join(map(_shown, each)), *("" for _ in ROWS)) for name, each in columns]
    for average in averages:
        ours = _shown(Estimate(average.value or 0.0, average.stderr, 0))
        printed = [average.paper.get(row) for row in ROWS]
        theirs = ["" if value is None else numbers.fixed(100 * value, 1) for value in printed]
        rows.append((glue.TITLES[average.name], ours, *theirs))
    head = ("%", "ours, medians over seeds", *(f"paper: {row}" for row in ROWS))
    told = " ".join(f"{average.told}." for average in averages)
    return [Heading(glue.TITLES["average"]), Table(head=head, rows=rows, caption=told)]


def beside(directory: Path, own: Summary) -> dict[str, dict[glue.Column, Estimate]]:
    """Return the figures of a fine-tuning and of those beside it that differ by their dataset alone."""
    found = {}
    for path in sorted(directory.resolve().parent.glob(f"*/{SUMMARY}")):
        other = _read(path)
        if other is not None and _recipe(other) == _recipe(own):
            found[other.task.removeprefix(PREFIX)] = _estimates(other)
    return found | {own.task.removeprefix(PREFIX): _estimates(own)}


def _read(path: Path) -> Summary | None:
    """Return a summary, None for what is none: whose folder this is, is not known."""
    try:
        return Summary.read(path)
    except FormatError:
        return None


def _recipe(summary: Summary) -> tuple[Any, Mapping[str, Any]]:
    config = summary.inputs.get("config") or {}
    return summary.inputs.get("weights"), {key: value for key, value in config.items() if key != "dataset"}


def _estimates(summary: Summary) -> dict[glue.Column, Estimate]:
    return {
        (figure.split, figure.metric): Estimate(figure.median, _error(figure), figure.num_examples)
        for figure in summary.figures
    }


def _error(figure: Figure) -> float | None:
    """Return the error of seeds and examples together."""
    of_seeds = None if figure.sd is None else figure.sd / math.sqrt(len(figure.values))
    known = [part for part in (figure.stderr, of_seeds) if part is not None]
    return math.hypot(*known) if known else None


def _shown(estimate: Estimate) -> str:
    error = "" if estimate.stderr is None else f" ± {numbers.fixed(100 * estimate.stderr, 1)}"
    return f"{numbers.fixed(100 * estimate.value, 1)}{error}"
