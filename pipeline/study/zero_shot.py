"""What the checkpoints of trials score without fine-tuning, by the steps of their pre-training.

Figure 2 of GPT-1's paper (right): what a network does by heuristics alone, told as the way that it has come
from guessing to the best of its time.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from pipeline.formats.paper_gpt1 import NORMALISED, ZERO_SHOT
from pipeline.formats.results import Result, Results
from pipeline.study.compared import CHANCE, beside_chance
from pipeline.study.watched import Watched

TABLE = "zero-shot.csv"
_STEP = re.compile(r"^step-(\d+)$")


@dataclass(frozen=True, kw_only=True)
class Point:
    """A metric of a trial's checkpoint, `normalised` as in the paper's figure; None for what is not in it.

    `told` says above, at or below chance.
    """

    trial: str
    step: int
    task: str
    metric: str
    value: float
    stderr: float | None
    num_examples: int
    told: str | None
    normalised: float | None
    normalised_error: float | None


def points(job: Watched, out: Path) -> list[Point]:
    """Return the figures of all checkpoints that were evaluated, in the order of their steps."""
    folders = job.folder(out).glob("*/")
    by_step = {int(match[1]): path for path in folders if (match := _STEP.match(path.name))}
    return [
        _point(job.trial, step, result)
        for step, path in sorted(by_step.items())
        if (path / job.suite).is_file()
        for result in Results.read(path / job.suite).results
        if result.subset == "all"
    ]


def summary(found: Sequence[Point]) -> list[str]:
    """Return what the last checkpoint of each trial says, in the unit of the paper's figure."""
    drawn = [point for point in found if point.normalised is not None]
    said = []
    for trial in dict.fromkeys(point.trial for point in drawn):
        last = max(point.step for point in drawn if point.trial == trial)
        parts = [_told(point) for point in drawn if (point.trial, point.step) == (trial, last)]
        said.append(f"{trial} without fine-tuning, after {last:,} steps: {', '.join(parts)}.")
    return [*said, f"Without fine-tuning, {NORMALISED}."] if said else []


def as_csv(found: Sequence[Point]) -> str:
    """Return zero-shot.csv: a row for each figure of each checkpoint; a value that is missing is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [each.name for each in fields(Point)], lineterminator="\n")
    writer.writeheader()
    for point in found:
        writer.writerow({key: "" if value is None else value for key, value in asdict(point).items()})
    return text.getvalue()


def _point(trial: str, step: int, result: Result) -> Point:
    drawn = ZERO_SHOT.get(result.task)
    if drawn is not None and drawn.metric != result.metric:
        drawn = None
    scale = drawn.best - drawn.guess if drawn else 1.0
    return Point(
        trial=trial,
        step=step,
        task=result.task,
        metric=result.metric,
        value=result.value,
        stderr=result.stderr,
        num_examples=result.num_examples,
        told=beside_chance(result.value, result.stderr, drawn.guess) if drawn else None,
        normalised=drawn.normalised(result.value) if drawn else None,
        normalised_error=result.stderr / scale if drawn and result.stderr is not None else None,
    )


def _told(point: Point) -> str:
    error = "" if point.normalised_error is None else f" ± {point.normalised_error:.2f}"
    aside = f" ({point.told})" if point.told in (CHANCE[0], CHANCE[-1]) else ""
    return f"{ZERO_SHOT[point.task].title} {point.normalised:.2f}{error}{aside}"
