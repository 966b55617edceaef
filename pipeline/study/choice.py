"""Chooses the law that predicts the largest size, and commits to the prediction before it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import StageError
from pipeline.formats.publish import read_json, write_json
from pipeline.study import form as forms
from pipeline.study import weigh
from pipeline.study.collect import Point, as_points, values_of
from pipeline.study.config import FEWEST_SIZES
from pipeline.study.fit import Fit, fit_points
from pipeline.study.form import Form, Loss
from pipeline.study.intervals import band
from pipeline.study.spread import CONFIDENCE, sizes_of

FORMAT = 1
CURVE_POINTS = 60
CANDIDATES = ("log-linear", "power", "offset-power")
"""Fewest coefficients first."""
SAME = 1e-6
"""Errors apart by no more than this part of the value are one: an offset of zero makes two laws the same."""
RULE = (
    "each form is fitted to the sizes below the second largest; the eligible one that comes nearest to the "
    "second largest, of equals the one with fewest coefficients, is fitted to all sizes below the largest "
    "and predicts it"
)


@dataclass(frozen=True, kw_only=True)
class Target:
    """The size that is predicted."""

    rung: str
    abscissa: str
    size: float
    is_untrained: bool


def study_loss(form: Form) -> Loss:
    """Return the loss a study fits a form with: squares, as seeds scatter evenly and none is an outlier."""
    return "mse-log" if form.loss == "huber-log" else form.loss


def fitted(name: str, points: Sequence[Point], *columns: str) -> Fit:
    """Fit a law to points of one metric by a study's loss, weighed by what their seeds leave open."""
    form = forms.load(name)
    loss = study_loss(form)
    return fit_points(form, weigh.weighed(points, *columns, loss=loss), loss=loss)


def why_impossible(name: str, points: Sequence[Point], *columns: str) -> str:
    """Return why a law cannot be fitted to these points, or nothing where it can."""
    form, values = forms.load(name), values_of(points)
    needed = len(form.linear) + len(form.curved)
    found = int(sizes_of(as_points(points, *columns).inputs).max()) + 1 if points else 0
    if found < needed:
        return f"{found} sizes for {needed} coefficients"
    if study_loss(form) != "mse" and not (values > 0).all():
        return "a value is not above zero, and its logarithm is fitted"
    return ""


def commit(path: Path, points: Sequence[Point], metric: str, target: Target) -> dict[str, Any]:
    """Return the choice and prediction on disk, or make them now from the points below the largest size."""
    if path.is_file():
        found: dict[str, Any] = read_json(path)
        return found
    choice = choose(points, metric, target)
    write_json(path, choice)
    return choice


def choose(points: Sequence[Point], metric: str, target: Target) -> dict[str, Any]:
    """Return the choice and prediction from the points below the largest size, with the time it was made.

    StageError where they are too few sizes to choose by.
    """
    found = _choose(points, target)
    weights = weigh.weights(points, target.abscissa)
    return {
        "format": FORMAT,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "before_the_largest": target.is_untrained,
        "metric": metric,
        "abscissa": target.abscissa,
        "rule": RULE,
        "weights": weigh.told(points, target.abscissa),
        **found,
        "points": [
            {"name": p.name, "x": getattr(p, target.abscissa), "value": p.value, "weight": weight}
            for p, weight in zip(points, np.ones(len(points)) if weights is None else weights, strict=True)
        ],
    }


def _choose(points: Sequence[Point], target: Target) -> dict[str, Any]:
    sizes = sorted({float(getattr(point, target.abscissa)) for point in points})
    if len(sizes) < FEWEST_SIZES - 1:
        raise StageError(
            f"{len(sizes)} sizes below the largest cannot choose a form; a ladder needs at least "
            f"{FEWEST_SIZES} in all"
        )
    left_out = [point for point in points if getattr(point, target.abscissa) == sizes[-1]]
    below = [point for point in points if getattr(point, target.abscissa) < sizes[-1]]
    candidates = [_candidate(name, below, left_out, len(sizes), target) for name in CANDIDATES]
    observed = float(values_of(left_out).mean())
    eligible = [candidate for candidate in candidates if candidate["eligible"]]
    nearest = min(abs(candidate["error"]) for candidate in eligible) + SAME * abs(observed)
    chosen = next(candidate for candidate in eligible if abs(candidate["error"]) <= nearest)
    fit = fitted(chosen["form"], points, target.abscissa)
    return {
        "left_out": {
            "x": sizes[-1],
            "observed": observed,
            "runs": [p.name for p in left_out],
        },
        "candidates": candidates,
        "chosen": chosen["form"],
        "fit": fit.as_json(),
        "prediction": _prediction(fit, target),
        "curve": _curve(fit, sizes[0], target.size),
    }


def _candidate(
    name: str, below: Sequence[Point], left_out: Sequence[Point], sizes: int, target: Target
) -> dict[str, Any]:
    """Return how near a form comes to the second largest size, or why it may not stand."""
    form, observed, predicted = forms.load(name), float(values_of(left_out).mean()), None
    why_not = why_impossible(name, below, target.abscissa)
    if not why_not:
        solution = fitted(name, below, target.abscissa).solution
        predicted = float(solution.predict(np.array([[getattr(left_out[0], target.abscissa)]]))[0])
        why_not = "" if solution.converged else "its fit did not converge"
    else:
        why_not += ", without the second largest"
    if sizes < form.fewest_sizes:
        why_not = f"{sizes} sizes below the largest, it needs {form.fewest_sizes}"
    error = None if predicted is None else predicted - observed
    return {
        "form": name,
        "eligible": not why_not,
        "why_not": why_not,
        "predicted": predicted,
        "error": error,
        "relative_error": error / observed if error is not None and observed else None,
    }


def _prediction(fit: Fit, target: Target) -> dict[str, Any]:
    at = np.array([[target.size]])
    ends = band(fit.solution, at, new_point=True)
    return {
        "rung": target.rung,
        "x": target.size,
        "value": float(fit.solution.predict(at)[0]),
        "low": float(ends[0][0]) if ends else None,
        "high": float(ends[1][0]) if ends else None,
        "confidence": CONFIDENCE,
        "method": "Student's t for one new run, the law linearised at its coefficients",
    }


def _curve(fit: Fit, low: float, high: float) -> dict[str, list[float]] | None:
    """Return the prediction interval of one new run from the smallest size to the largest."""
    xs = np.geomspace(low / 1.1, high * 1.1, CURVE_POINTS)
    ends = band(fit.solution, xs[:, None], new_point=True)
    return {"x": xs.tolist(), "low": ends[0].tolist(), "high": ends[1].tolist()} if ends else None
