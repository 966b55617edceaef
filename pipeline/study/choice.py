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
from pipeline.study.collect import Point, as_points, values_of
from pipeline.study.fit import Fit, fit_points
from pipeline.study.form import Form, Loss
from pipeline.study.intervals import band
from pipeline.study.spread import CONFIDENCE, sizes_of

FORMAT = 1
CURVE_POINTS = 60
CANDIDATES = ("log-linear", "power", "offset-power")
RULE = (
    "each form is fitted to the sizes below the second largest; the eligible one that comes nearest to the "
    "second largest is fitted to all sizes below the largest and predicts it"
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


def commit(path: Path, points: Sequence[Point], metric: str, target: Target) -> dict[str, Any]:
    """Return the choice and prediction on disk, or make them now from the points below the largest size."""
    if path.is_file():
        found: dict[str, Any] = read_json(path)
        return found
    choice = {
        "format": FORMAT,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "before_the_largest": target.is_untrained,
        "metric": metric,
        "abscissa": target.abscissa,
        "rule": RULE,
        **_choose(points, target),
        "points": [{"name": p.name, "x": getattr(p, target.abscissa), "value": p.value} for p in points],
    }
    write_json(path, choice)
    return choice


def _choose(points: Sequence[Point], target: Target) -> dict[str, Any]:
    sizes = sorted({float(getattr(point, target.abscissa)) for point in points})
    if len(sizes) < 3:
        raise StageError(
            f"{len(sizes)} sizes below the largest cannot choose a form; a ladder needs at least 4 in all"
        )
    left_out = [point for point in points if getattr(point, target.abscissa) == sizes[-1]]
    below = [point for point in points if getattr(point, target.abscissa) < sizes[-1]]
    candidates = [_candidate(forms.load(name), below, left_out, len(sizes), target) for name in CANDIDATES]
    chosen = min((c for c in candidates if c["eligible"]), key=lambda c: abs(c["relative_error"]))
    form = forms.load(chosen["form"])
    fit = fit_points(form, as_points(points, target.abscissa), loss=study_loss(form))
    return {
        "left_out": {
            "x": sizes[-1],
            "observed": float(values_of(left_out).mean()),
            "runs": [p.name for p in left_out],
        },
        "candidates": candidates,
        "chosen": chosen["form"],
        "fit": fit.as_json(),
        "prediction": _prediction(fit, target),
        "curve": _curve(fit, sizes[0], target.size),
    }


def _candidate(
    form: Form, below: Sequence[Point], left_out: Sequence[Point], sizes: int, target: Target
) -> dict[str, Any]:
    """Return how near a form comes to the second largest size, or why it may not stand."""
    points = as_points(below, target.abscissa)
    coefficients = len(form.linear) + len(form.curved)
    fitted_sizes = int(sizes_of(points.inputs).max()) + 1
    why_not = ""
    if sizes < form.fewest_sizes:
        why_not = f"{sizes} sizes below the largest, it needs {form.fewest_sizes}"
    elif fitted_sizes < coefficients:
        why_not = f"{fitted_sizes} sizes below the second largest for {coefficients} coefficients"
    observed = float(values_of(left_out).mean())
    predicted = None
    if fitted_sizes >= coefficients:
        solution = fit_points(form, points, loss=study_loss(form)).solution
        predicted = float(solution.predict(as_points(left_out, target.abscissa).inputs)[0])
        why_not = why_not or ("" if solution.converged else "its fit did not converge")
    error = (predicted - observed) / observed if predicted is not None and observed else None
    eligible = not why_not and error is not None
    return {
        "form": form.name,
        "eligible": eligible,
        "why_not": why_not,
        "predicted": predicted,
        "relative_error": error,
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
