"""What it would take to reach a value: each law turned round, with the interval that its own error leaves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import brentq

from pipeline.study import choice
from pipeline.study.collect import Point
from pipeline.study.fit import Fit
from pipeline.study.intervals import band
from pipeline.study.material import Material
from pipeline.study.plan import PlannedArm
from pipeline.study.regimes import BRANCHED, GROWING
from pipeline.study.sentences import ABSCISSAE

FARTHEST = 1e6  # times the largest size measured; what lies beyond is called out of reach


def target(material: Material, surface: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return what each law says it takes to reach the configuration's target; None where there is none."""
    asked = material.config.target
    if asked is None:
        return None
    metric = asked.metric or material.metric
    needed = []
    for arm in material.plan.arms:
        points = material.of_arm(arm, metric)
        if arm.is_ladder:
            needed += _by_laws(points, material.config.abscissa, arm, None, metric, asked.value)
        elif arm.regime in (GROWING, BRANCHED):
            for rung, own in material.by_rung(points).items():
                needed += _by_laws(own, "tokens", arm, rung, metric, asked.value)
    if surface and surface["form"] == "hoffmann" and metric == material.metric:
        needed.append(_by_surface(surface, metric, asked.value))
    return {"metric": metric, "value": asked.value, "needed": needed}


def crossing(curve: Callable[[float], float], value: float, low: float, high: float) -> float | None:
    """Return where a monotone curve of x takes a value between `low` and `high`, or None if it does not."""

    def gap(log: float) -> float:
        return curve(10**log) - value

    ends = math.log10(low), math.log10(high)
    if gap(ends[0]) * gap(ends[1]) > 0:
        return None
    return float(10 ** brentq(gap, *ends, xtol=1e-9))


def _by_laws(
    points: Sequence[Point], abscissa: str, arm: PlannedArm, rung: str | None, metric: str, value: float
) -> list[dict[str, Any]]:
    fits = {
        name: choice.fitted(name, points, abscissa)
        for name in choice.CANDIDATES
        if not choice.why_impossible(name, points, abscissa)
    }
    rows = [_by_law(fit, points, abscissa, value) for fit in fits.values() if fit.solution.converged]
    return [
        row | {"arm": arm.name, "rung": rung, "words": _words(row, arm.name, metric, value)} for row in rows
    ]


def _by_law(fit: Fit, points: Sequence[Point], abscissa: str, value: float) -> dict[str, Any]:
    xs = fit.solution.problem.inputs[:, 0]
    reach = float(xs.min()) / FARTHEST, float(xs.max()) * FARTHEST
    at = crossing(lambda x: float(fit.solution.predict(np.array([[x]]))[0]), value, *reach)
    ends = [crossing(edge, value, *reach) for edge in _edges(fit)] if at else []
    known = sorted(end for end in ends if end is not None)
    return {
        "form": fit.form.name,
        "abscissa": abscissa,
        "x": at,
        "low": known[0] if known and at and known[0] <= at else None,
        "high": known[-1] if known and at and known[-1] >= at else None,
        "reached": at is not None and at <= float(xs.max()),
        "beyond": at / float(xs.max()) if at else None,
        **{name: _extended(points, abscissa, name, at) for name in ("params", "tokens", "flops")},
    }


def _edges(fit: Fit) -> list[Callable[[float], float]]:
    """Return the ends of the law's own 95 % interval as curves; none where they are not known."""
    if band(fit.solution, fit.solution.problem.inputs[:1], new_point=False) is None:
        return []

    def edge(which: int) -> Callable[[float], float]:
        def curve(x: float) -> float:
            ends = band(fit.solution, np.array([[x]]), new_point=False)
            assert ends is not None
            return float(ends[which][0])

        return curve

    return [edge(0), edge(1)]


def _extended(points: Sequence[Point], abscissa: str, column: str, at: float | None) -> float | None:
    """Return a column of the points at an abscissa, its logarithm's straight line extended.

    `params` counts what the abscissa counts, else non-embedding parameters.
    """
    name = "params_non_embedding" if column == "params" and abscissa != "params" else column
    if at is None:
        return None
    if name == abscissa:
        return at
    x = np.log([float(getattr(point, abscissa)) for point in points])
    y = np.log([float(getattr(point, name)) for point in points])
    slope, height = np.polyfit(x - x.mean(), y, 1)
    return float(np.exp(height + slope * (math.log(at) - x.mean())))


def _by_surface(surface: Mapping[str, Any], metric: str, value: float) -> dict[str, Any]:
    """Return the cheapest size and data of E + A/N^alpha + B/D^beta = value.

    At the least 6*N*D the two terms stand as beta to alpha (Hoffmann et al. 2022, equation 4).
    """
    found = surface["coefficients"]
    alpha, beta, gap = found["alpha"], found["beta"], value - found["E"]
    row: dict[str, Any] = {"form": "hoffmann", "abscissa": surface["count"], "low": None, "high": None}
    row |= {"x": None, "params": None, "tokens": None, "flops": None, "reached": False, "beyond": None}
    if gap > 0 and min(alpha, beta, found["A"], found["B"]) > 0:
        params = (found["A"] * (alpha + beta) / (beta * gap)) ** (1 / alpha)
        tokens = (found["B"] * (alpha + beta) / (alpha * gap)) ** (1 / beta)
        row |= {"x": params, "params": params, "tokens": tokens, "flops": 6 * params * tokens}
    return row | {
        "arm": None,
        "rung": None,
        "words": _words(row, "all arms, compute spent best", metric, value),
    }


def _words(row: Mapping[str, Any], arm: str, metric: str, value: float) -> str:
    begin = f"{arm + ': ' if arm else ''}{metric} of {value:g} by the {row['form']} law"
    if row["x"] is None:
        return f"{begin}: out of reach, however large."
    ends = "" if row["low"] is None or row["high"] is None else f" ({row['low']:.3g} to {row['high']:.3g})"
    size = f"{row['x']:.3g} {ABSCISSAE[row['abscissa']]}{ends}"
    others = [
        f"{row[name]:.3g} {what}"
        for name, what in (("params", "parameters"), ("tokens", "tokens"), ("flops", "FLOPs"))
        if row["abscissa"] != name and not (name == "params" and row["abscissa"].startswith("params"))
    ]
    far = "" if not row["beyond"] or row["reached"] else f", {row['beyond']:.3g} times the largest measured"
    return f"{begin}: {size}{far}, {' and '.join(others)}."
