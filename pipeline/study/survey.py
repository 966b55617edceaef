"""Every metric of every ladder, in one row each: slope, shape, order, and how a line predicts the largest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from pipeline.study import choice, merit, weigh
from pipeline.study.collect import Point, as_points
from pipeline.study.fit import fit_points
from pipeline.study.form import load
from pipeline.study.intervals import band
from pipeline.study.material import Material
from pipeline.study.measured import Size, noise, sizes
from pipeline.study.plan import PlannedArm
from pipeline.study.series import Described, Series, described

FEWEST = 3  # sizes: two give the line and the third is predicted
UNFIT = ("at chance", "no trend", "too few")  # beginnings of shapes through which no line is to be drawn


def rows(material: Material) -> list[dict[str, Any]]:
    """Return a row for each ladder and each metric that has a better and a worse."""
    return [
        _row(material, arm, metric)
        for arm in material.ladders
        for metric in material.metrics
        if material.better(metric) and material.of_arm(arm, metric)
    ]


def undirected(material: Material) -> list[str]:
    """Return the metrics that tell what a model is like and not how good it is."""
    return [metric for metric in material.metrics if material.better(metric) is None]


def _row(material: Material, arm: PlannedArm, metric: str) -> dict[str, Any]:
    question, points = material.question(arm, metric), material.of_arm(arm, metric)
    measured = sizes(points, question.label, question.abscissa)
    points.sort(key=lambda point: float(getattr(point, question.abscissa)))
    laid = as_points(points, question.abscissa)
    xs = np.unique(laid.inputs).tolist()
    series = Series(
        name=metric,
        sizes=laid.inputs[:, 0],
        values=laid.values,
        higher_is_better=question.better == "higher",
        noise=_noise(metric, measured),
        errors=weigh.errors(points, question.abscissa),
        chance=merit.chance(metric),
        ceiling=merit.ceiling(metric),
    )
    row = _described(series)
    is_fit = not str(row["shape"]).startswith(UNFIT)
    held = _held_out(points, question.abscissa) if is_fit and len(xs) >= FEWEST else None
    return {
        "arm": arm.name,
        "regime": arm.words,
        "metric": metric,
        "better": question.better,
        "sizes": xs,
        "values": series.means.tolist(),
        "tokens": [min(p.tokens for p in points), max(p.tokens for p in points)],
        "noise": series.noise,
        "chance": series.chance,
        "ceiling": series.ceiling,
        **row,
        **(held or {"curve": None, "held_out": None}),
        "words": _words(metric, row, measured),
    }


def _noise(metric: str, measured: Sequence[Size]) -> float | None:
    """Return the noise of one run; of a share no less than its error over the examples asked.

    Where a few of many examples succeed, seeds agree on them by chance and say nothing of other examples.
    """
    found = noise(measured).value
    errors = [size.stderr for size in measured if size.stderr] if merit.is_share(metric) else []
    return max([found, *errors]) if found is not None else None


def _described(series: Series) -> dict[str, Any]:
    count = len(series.means)
    if count >= FEWEST:
        return asdict(described(series))
    empty: dict[str, Any] = dict.fromkeys(field.name for field in fields(Described))
    return empty | {
        "name": series.name,
        "slope_interval": [None, None],
        "shape": f"too few sizes: {count}",
    }


def _held_out(points: Sequence[Point], abscissa: str) -> dict[str, Any]:
    """Return the line through all sizes but the largest, up to it, and what it says of a new run there."""
    largest = max(float(getattr(point, abscissa)) for point in points)
    below = [point for point in points if getattr(point, abscissa) < largest]
    observed = [point.value for point in points if getattr(point, abscissa) == largest]
    fit = fit_points(load("log-linear"), weigh.weighed(below, abscissa, loss="mse"))
    smallest = float(fit.solution.problem.inputs.min())
    at = np.geomspace(smallest, largest, choice.CURVE_POINTS)[:, None]
    value, ends = fit.solution.predict(at).tolist(), band(fit.solution, at, new_point=True)
    low, high = (end.tolist() for end in ends) if ends else ([], [])
    return {
        "curve": {"x": at[:, 0].tolist(), "value": value, "low": low, "high": high},
        "held_out": {
            "x": largest,
            "predicted": value[-1],
            "low": low[-1] if low else None,
            "high": high[-1] if high else None,
            "observed": float(np.mean([one for one in observed if one is not None])),
        },
    }


def _words(metric: str, row: dict[str, Any], measured: Sequence[Size]) -> str:
    if row["slope"] is None:
        return f"{metric}: {row['shape']}"
    low, high = row["slope_interval"]
    ends = f" ({low:+.4g} to {high:+.4g})" if low is not None and high is not None else ""
    r2 = "" if row["r2"] is None else f", R² {row['r2']:.3f}"
    error = f"a line misses {measured[-1].rung} by {row['held_out_error']:+.3g}"
    noises = "" if row["error_in_noise"] is None else f", {row['error_in_noise']:.1f} times the noise"
    return (
        f"{metric}: {row['slope']:+.4g} per decade{ends} over {row['decades']:.2f} decades{r2}; "
        f"{row['wrong_steps']} of {row['steps']} steps go the wrong way; {error}{noises}; {row['shape']}"
    )
