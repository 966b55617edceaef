"""Everything said of one metric along one abscissa: a ladder of sizes, or one size at growing data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.formats.publish import write_json
from pipeline.study import apart, choice, form, rule, sentences, weigh
from pipeline.study.collect import Point
from pipeline.study.fit import Fit
from pipeline.study.intervals import DEFAULT_DRAWS
from pipeline.study.measured import noise, sizes
from pipeline.study.merit import Better
from pipeline.study.resample import FEWEST_FOR_PAIRS, resample
from pipeline.study.spread import CONFIDENCE, sizes_of

BOOTSTRAPS = 2 * DEFAULT_DRAWS


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of the points of one metric; `label` names a point's size, `prefix` begins its files."""

    metric: str
    better: Better
    abscissa: str
    label: Callable[[Point], str]
    prefix: str = ""


def found(
    points: Sequence[Point], question: Question, chosen: Mapping[str, Any] | None, folder: Path
) -> dict[str, Any]:
    """Return the finding as verdict.json has it, and write the fits into `folder`.

    `chosen` is the choice with the prediction of the largest, None where there is none. Where points are too
    few for something it is None or empty, and the summary says what there is. There is at least one point.
    """
    measured = sizes(points, question.label, question.abscissa)
    fits = _fits(points, question, folder)
    scatter = noise(measured)
    xs = [float(getattr(point, question.abscissa)) for point in points]
    held = next((size for size in measured if chosen and size.rung == chosen["prediction"]["rung"]), None)
    line = fits.get("log-linear")
    result = {
        "metric": question.metric,
        "better": question.better,
        "abscissa": question.abscissa,
        "sizes": [asdict(size) for size in measured],
        "noise": asdict(scatter),
        "inversions": rule.inversions(measured, question.better),
        "held_out": rule.held_out(held, chosen, scatter) if held and chosen else None,
        "decades": math.log10(max(xs) / min(xs)),
        "tokens": _ends([point.tokens for point in points]),
        "tokens_per_parameter": _ends([point.tokens / point.params_non_embedding for point in points]),
        "epochs": _ends([point.tokens / point.unique_tokens for point in points]),
        "weights": weigh.told(points, question.abscissa),
        "fits": {name: _file(question, name) for name in fits},
        "misses": {name: _miss(fit) for name, fit in fits.items() if fit.solution.converged},
        "residuals": {name: _residuals(fit, points, question.abscissa) for name, fit in fits.items()},
        "line": line_of(line) if line else None,
        **_apart(points, question.abscissa),
    }
    return result | {"summary": sentences.of_law(result)}


def line_of(line: Fit) -> dict[str, Any]:
    """Return the slope per decade of a straight line, with what drawing the runs again says of it."""
    low, high = line.bounds["b"]
    return {
        "slope": line.solution.coefficients["b"],
        "low": low,
        "high": high,
        "method": line.interval_method,
        "seeds": _drawn_again(line),
    }


def _drawn_again(line: Fit) -> dict[str, Any] | None:
    """Return the bootstrap of the slope where it knows something that Student's t does not: the seeds.

    Where sizes are few and one of them has a single seed, it could only draw the same residuals again.
    """
    rung = sizes_of(line.solution.problem.inputs)
    counts = [int((rung == size).sum()) for size in range(int(rung.max()) + 1)]
    if len(counts) < 3 or (len(counts) < FEWEST_FOR_PAIRS and min(counts) < 2):
        return None
    drawn, method = resample(line.solution, BOOTSTRAPS, 0)
    slopes = sorted(solution.coefficients["b"] for solution in drawn)
    tail = (1 - CONFIDENCE) / 2
    low, high = (slopes[min(int(share * len(slopes)), len(slopes) - 1)] for share in (tail, 1 - tail))
    return {"low": low, "high": high, "method": method}


def _fits(points: Sequence[Point], question: Question, folder: Path) -> dict[str, Fit]:
    """Fit every law that the points allow, and write each."""
    fits = {
        name: choice.fitted(name, points, question.abscissa)
        for name in choice.CANDIDATES
        if not choice.why_impossible(name, points, question.abscissa)
    }
    for name, fit in fits.items():
        write_json(folder / _file(question, name), fit.as_json())
    return fits


def _apart(points: Sequence[Point], abscissa: str) -> dict[str, Any]:
    """Return whether the points can tell a line from a power law, and from one with an offset."""
    return {
        "apart": _told_apart(points, abscissa, "power"),
        "apart_offset": _told_apart(points, abscissa, "offset-power"),
    }


def _told_apart(points: Sequence[Point], abscissa: str, other: str) -> dict[str, Any] | None:
    line, law = form.load("log-linear"), form.load(other)
    weighed = weigh.weighed(points, abscissa, loss="mse")
    count = int(sizes_of(weighed.inputs).max()) + 1
    if count < law.fewest_sizes or choice.why_impossible(other, points, abscissa):
        return None
    said = apart.tell_apart(line, law, weighed)
    return asdict(said) | {"words": str(said)}


def _miss(fit: Fit) -> float:
    return math.sqrt(fit.rss / len(fit.solution.problem.values))


def _residuals(fit: Fit, points: Sequence[Point], abscissa: str) -> list[dict[str, Any]]:
    problem = fit.solution.problem
    predicted = problem.predict(fit.solution.p)
    return [
        {
            "name": point.name,
            "x": float(getattr(point, abscissa)),
            "value": value,
            "predicted": expected,
            "residual": value - expected,
        }
        for point, value, expected in zip(points, problem.values.tolist(), predicted.tolist(), strict=True)
    ]


def _ends(numbers: Sequence[float]) -> list[float]:
    return [min(numbers), max(numbers)]


def _file(question: Question, form: str) -> str:
    return f"{question.prefix}{form}.json"
