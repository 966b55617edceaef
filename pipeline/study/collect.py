"""Reads finished runs into points: one row per run and metric, the CSV that `loglinear fit` takes."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import FormatError, StageError
from pipeline.formats.checkpoint import Meta
from pipeline.formats.publish import write_text
from pipeline.formats.run import Run
from pipeline.formats.summary import Summary
from pipeline.study.form import Array
from pipeline.study.jobs import results
from pipeline.study.plan import PlannedRun
from pipeline.study.table import Points

VALIDATION = "validation"  # the task name of the trainer's own last validation
FINETUNE = "finetune"  # how the task names of fine-tunings begin; the dataset's follows
JUDGED = "validation"  # the split of a labelled dataset that a fine-tuning is judged by


@dataclass(frozen=True, kw_only=True)
class Point:
    """One metric of one run; a value that is missing or no finite number is None, never zero."""

    name: str
    family: str
    arm: str
    params: int
    params_non_embedding: int
    tokens: int
    unique_tokens: int
    flops: float
    batch_tokens: int
    lr: float
    seed: int
    step: int
    metric: str
    value: float | None
    stderr: float | None
    config_hash: str


def of_run(planned: PlannedRun, run: Run, family: str, tuned: Mapping[str, Summary]) -> list[Point]:
    """Return the points of a finished run: the trainer's last validation and each result of an evaluation.

    And of its fine-tunings, by dataset: means over their seeds, with the standard error that their scatter
    gives; one seed gives none.
    """
    step = Meta.read(run.checkpoints()[-1]).step
    measured = [*_validation(run), *_evaluated(run), *_tuned(tuned)]
    return [
        Point(
            name=planned.name,
            family=family,
            arm=planned.arm,
            params=planned.params,
            params_non_embedding=planned.params_non_embedding,
            tokens=planned.tokens,
            unique_tokens=planned.unique_tokens,
            flops=planned.flops,
            batch_tokens=planned.batch_tokens,
            lr=planned.lr,
            seed=planned.seed,
            step=step,
            metric=metric,
            value=_finite(value),
            stderr=_finite(stderr),
            config_hash=planned.config_hash,
        )
        for metric, value, stderr in measured
    ]


def write(path: Path, points: Iterable[Point]) -> None:
    """Publish points.csv, ordered by size, run and metric."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Point)], lineterminator="\n")
    writer.writeheader()
    ordered = sorted(points, key=lambda p: (p.params_non_embedding, p.name, p.metric))
    writer.writerows(
        {key: "" if value is None else value for key, value in asdict(p).items()} for p in ordered
    )
    write_text(path, text.getvalue())


def read(path: Path) -> list[Point]:
    """Return the points of a file that `write` made, or none where there is no file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        wanted = [field.name for field in fields(Point)]
        if reader.fieldnames != wanted:
            raise FormatError(f"{path}:1: columns {reader.fieldnames}; expected {','.join(wanted)}")
        return [_point(path, number, row) for number, row in enumerate(reader, 2)]


def select(points: Iterable[Point], metric: str) -> list[Point]:
    """Return the points of one metric; StageError names runs that lack it or have no value."""
    found = list(points)
    chosen = [point for point in found if point.metric == metric and point.value is not None]
    lacking = sorted({point.name for point in found} - {point.name for point in chosen})
    if lacking:
        have = ", ".join(sorted({point.metric for point in found if point.value is not None}))
        raise StageError(f"no value of {metric} from {', '.join(lacking)}; measured are {have}")
    return chosen


def as_points(points: Sequence[Point], *columns: str, weights: Array | None = None) -> Points:
    """Return points of one metric in the form the fitter takes, with these columns as inputs."""
    return Points(
        inputs=np.array([[float(getattr(point, column)) for column in columns] for point in points]),
        values=values_of(points),
        weights=weights,
        names=tuple(point.name for point in points),
    )


def values_of(points: Sequence[Point]) -> Array:
    """Return the values (n,) of points that all have one."""
    return np.array([np.nan if point.value is None else point.value for point in points], dtype=float)


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def _validation(run: Run) -> list[tuple[str, float | None, float | None]]:
    rows = [row for row in run.rows() if row.get("validation_loss") is not None]
    if not rows:
        return []
    last = rows[-1]
    found = [(f"{VALIDATION}.loss", last["validation_loss"], last.get("validation_stderr"))]
    if last.get("bits_per_byte") is not None:
        # The standard error is of the loss; bits per byte are the same number in another unit.
        scale = last["bits_per_byte"] / last["validation_loss"] if last["validation_loss"] else None
        error = last.get("validation_stderr")
        found.append(
            (f"{VALIDATION}.bits_per_byte", last["bits_per_byte"], error * scale if error and scale else None)
        )
    return found


def _evaluated(run: Run) -> list[tuple[str, float | None, float | None]]:
    return [(f"{r.task}.{r.metric}", r.value, r.stderr) for r in results(run) if r.subset == "all"]


def _tuned(summaries: Mapping[str, Summary]) -> list[tuple[str, float | None, float | None]]:
    return [
        (
            f"{FINETUNE}.{dataset}.{figure.metric}",
            figure.mean,
            None if figure.sd is None else figure.sd / math.sqrt(len(figure.values)),
        )
        for dataset, summary in summaries.items()
        for figure in summary.figures
        if figure.split == JUDGED
    ]


def _point(path: Path, number: int, row: dict[str, Any]) -> Point:
    whole = {"params", "params_non_embedding", "tokens", "unique_tokens", "batch_tokens", "seed", "step"}
    try:
        values: dict[str, Any] = {key: int(cell) if key in whole else cell for key, cell in row.items()}
        values |= {key: float(row[key]) for key in ("flops", "lr")}
        values |= {key: _finite(float(row[key])) if row[key] else None for key in ("value", "stderr")}
        return Point(**values)
    except (TypeError, ValueError) as fault:
        raise FormatError(f"{path}:{number}: {fault}; remove the line and start the study again") from None
