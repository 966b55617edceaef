"""The evaluation table: every run, every task, every metric with its standard error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.formats.results import Results
from pipeline.report import numbers
from pipeline.report.section import Section, Table
from pipeline.report.sources import Sources, Trained

NAME, TITLE = "evaluation", "Evaluation"
FIRST = ("bits_per_byte", "accuracy", "loss", "perplexity")  # what is read first stands first


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


def scores_of(trained: Trained) -> list[Score]:
    """Return the scores of a run on all examples; the newest checkpoint's where several were evaluated."""
    found: dict[tuple[str, str], Score] = {}
    for path in sorted(trained.run.results.glob("*/*.json")):
        for result in Results.read(path).results:
            if result.subset != "all":
                continue
            found[result.task, result.metric] = Score(
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
    return list(found.values())


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
    columns = sorted({(score.task, score.metric) for score in scores}, key=_order)
    by_run: dict[str, dict[tuple[str, str], Score]] = {}
    for score in scores:
        by_run.setdefault(score.run, {})[score.task, score.metric] = score
    rows = []
    for run, found in by_run.items():
        one = next(iter(found.values()))
        seed = numbers.MISSING if one.seed is None else str(one.seed)
        cells = [shown(found[column]) if column in found else numbers.MISSING for column in columns]
        rows.append((run, numbers.count(one.params), seed, *cells))
    head = ("run", "non-embedding", "seed", *(words(".".join(column)) for column in columns))
    return Table(head=head, rows=rows)


def shown(score: Score) -> str:
    """Return a score with its standard error in the unit of its metric."""
    if (
        score.metric.startswith("accuracy")
        and score.value is not None
        and not numbers.is_missing(score.value)
    ):
        error = None if score.stderr is None else 100 * score.stderr
        return numbers.measured(100 * score.value, error, 1) + "\u00a0%"
    if score.metric.startswith("perplexity"):
        return numbers.measured(score.value, score.stderr, 0 if (score.value or 0) >= 1000 else 1)
    return numbers.measured(score.value, score.stderr)


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
