"""The evaluation table: every run, every task, every metric with its standard error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.formats.results import Results
from pipeline.report import numbers
from pipeline.report.section import Section, Table
from pipeline.report.sources import Sources, Trained

NAME, TITLE = "evaluation", "Evaluation"
FIRST = ("bits_per_byte", "accuracy", "loss", "perplexity")  # what is read first stands first
SHARES = (
    "accuracy", "acc", "f1", "exact_match", "confidence", "calibration_error", "context_cut", "empty",
    "shared_", "own_training_",
)  # fmt: skip
POINTS = ("bleu", "rouge", "sentence_bleu")
MOST_COLUMNS = 6
EVERY, NO_OVERLAP = "all", "no-overlap"


@dataclass(frozen=True, kw_only=True)
class Score:
    """One metric of one run."""

    run: str
    params: int | None
    seed: int | None
    task: str
    metric: str
    value: float | None
    stderr: float | None
    examples: int | None = None
    protocol: str = ""


def section(sources: Sources) -> Section:
    """Return the section, or how to evaluate the runs it needs."""
    scores = [score for trained in sources.runs for score in scores_of(trained)]
    if not scores and sources.study:
        scores = _from_points(sources.study.points)
    if not scores:
        remedy = "no results here; `loglinear evaluate CONFIG checkpoint=RUN data=DATASET` makes them"
        return Section(name=NAME, title=TITLE, remedy=remedy)
    values = {"table": _table(scores), "tasks": _tasks(scores)}
    return Section(name=NAME, title=TITLE, template="evaluation.html.j2", values=values)


def words(metric: str) -> str:
    """Return `held_out.bits_per_byte` as people read it: bits per byte (held out)."""
    task, _, name = metric.rpartition(".")
    name = name.replace("_", " ")
    return f"{name} ({task.replace('_', ' ')})" if task else name


def scores_of(trained: Trained, subset: str = EVERY) -> list[Score]:
    """Return the scores of a run on a subset of the examples; the newest checkpoint's where several were
    evaluated.
    """
    found = [score for folder in trained.result_folders for score in scores_in(folder, trained, subset)]
    return list({(score.task, score.metric): score for score in found}.values())


def scores_in(folder: Path, trained: Trained, subset: str = EVERY) -> list[Score]:
    """Return the scores of one evaluated checkpoint of a run."""
    return [
        Score(
            run=trained.name,
            params=trained.params_non_embedding,
            seed=trained.seed,
            task=result.task,
            metric=result.metric,
            value=result.value,
            stderr=result.stderr,
            examples=result.num_examples,
            protocol=result.protocol,
        )
        for path in sorted(folder.glob("*.json"))
        for result in Results.read(path).results
        if result.subset == subset
    ]


def _from_points(points: Sequence[dict[str, Any]]) -> list[Score]:
    scores = []
    for point in points:
        task, _, metric = str(point["metric"]).rpartition(".")
        scores.append(
            Score(
                run=point["name"],
                params=point.get("params_non_embedding"),
                seed=point.get("seed"),
                task=task,
                metric=metric,
                value=point.get("value"),
                stderr=point.get("stderr"),
            )
        )
    return scores


def _table(scores: Sequence[Score]) -> Table:
    """Return a row for each run; or for each metric, where these are more."""
    columns = sorted({(score.task, score.metric) for score in scores}, key=_order)
    by_run: dict[str, dict[tuple[str, str], Score]] = {}
    for score in scores:
        by_run.setdefault(score.run, {})[score.task, score.metric] = score
    cells = {
        run: [shown(found[column]) if column in found else numbers.MISSING for column in columns]
        for run, found in by_run.items()
    }
    names = [words(".".join(column)) for column in columns]
    if len(columns) > MOST_COLUMNS and len(columns) > len(by_run):
        rows = [tuple(row) for row in zip(names, *cells.values(), strict=True)]
        by_task = [row for _, row in sorted(zip(columns, rows, strict=True), key=lambda each: each[0])]
        return Table(head=("metric", *by_run), rows=by_task)
    ones = {run: next(iter(found.values())) for run, found in by_run.items()}
    rows = [
        (run, numbers.count(one.params), numbers.MISSING if one.seed is None else str(one.seed), *cells[run])
        for run, one in ones.items()
    ]
    return Table(head=("run", "non-embedding", "seed", *names), rows=rows)


def is_share(metric: str) -> bool:
    """Tell whether a metric is a share, which people read in per cent."""
    return metric.startswith(SHARES)


def shown(score: Score) -> str:
    """Return a score with its standard error in the unit of its metric."""
    metric, value, error = score.metric, score.value, score.stderr
    if is_share(metric) and value is not None and not numbers.is_missing(value):
        return numbers.measured(100 * value, None if error is None else 100 * error, 1) + "\u00a0%"
    if "perplexity" in metric or metric.startswith(POINTS):
        return numbers.measured(value, error, 0 if (value or 0) >= 1000 else 1)
    return numbers.measured(value, error)


def _order(column: tuple[str, str]) -> tuple[int, str, str]:
    task, metric = column
    place = next((n for n, name in enumerate(FIRST) if metric.startswith(name)), len(FIRST))
    return (place, metric, task)


def _tasks(scores: Sequence[Score]) -> list[dict[str, str]]:
    """Return each task once, with its protocol and number of examples."""
    found: dict[str, dict[str, str]] = {}
    for score in scores:
        if score.protocol or score.examples is not None:
            entry = {
                "task": score.task,
                "examples": numbers.count(score.examples),
                "protocol": score.protocol,
            }
            found.setdefault(score.task, entry)
    return list(found.values())
