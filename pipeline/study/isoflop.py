"""The best size for a budget of compute: minima of curves of equal FLOPs, and how they grow with the budget.

Approach 2 of Hoffmann et al. 2022 (section 3.2), by a parabola and by interpolation, as a parabola through a
curve that is none moves its minimum. Which parameters are counted moves the exponents: both counts are named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.interpolate import Akima1DInterpolator

from pipeline.study.collect import Point
from pipeline.study.fit import fit_points
from pipeline.study.form import Array, load
from pipeline.study.table import Points

Method = Literal["parabola", "interpolation"]
METHODS: tuple[Method, ...] = ("parabola", "interpolation")
COUNTS: Mapping[str, str] = {
    "params_non_embedding": "Kaplan's count, without embeddings",
    "params": "Chinchilla's count, with embeddings",
}
SAME_BUDGET = 1.15  # neighbouring runs whose FLOPs differ by less than this factor share a budget
FEWEST_SIZES = 4  # of a curve; through three points a parabola fits anything
GRID = 2001


@dataclass(frozen=True, kw_only=True)
class Minimum:
    """The bottom of one curve; `problem` says why it is none.

    `bend` is a parabola's: its values are value + bend * (log10 N - log10 params)^2.
    """

    flops: float
    params: float
    tokens: float
    value: float
    bend: float | None = None
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Frontier:
    """How the best N and D grow with C: N ~ C^a, D ~ C^b, with 95 % intervals by Student's t."""

    method: Method
    minima: tuple[Minimum, ...]
    exponents: Mapping[str, float]
    intervals: Mapping[str, tuple[float | None, float | None]]
    warnings: tuple[str, ...]


def frontier(params: Array, tokens: Array, flops: Array, values: Array, method: Method) -> Frontier:
    """Return the minima of all budgets and the exponents through those that have one; arrays are (n,).

    Fewer than two usable budgets give no exponents, fewer than three no intervals; `warnings` says so.
    """
    minima = tuple(
        _minimum(params[rows], tokens[rows], flops[rows], values[rows], method) for rows in budgets(flops)
    )
    usable = [one for one in minima if not one.problem]
    warnings = [f"{one.flops:.3g} FLOPs: {one.problem}" for one in minima if one.problem]
    if len(usable) < 2:
        warnings.append(f"{len(usable)} budgets with a minimum give no exponents; at least 3 are needed")
        return Frontier(method=method, minima=minima, exponents={}, intervals={}, warnings=tuple(warnings))
    grown = {"a": _growth(usable, "params"), "b": _growth(usable, "tokens")}
    if len(usable) < 3:
        warnings.append("2 budgets with a minimum give exponents without intervals")
    return Frontier(
        method=method,
        minima=minima,
        exponents={name: value for name, (value, _) in grown.items()},
        intervals={name: ends for name, (_, ends) in grown.items()},
        warnings=tuple(warnings),
    )


def by_count(points: Sequence[Point]) -> dict[str, dict[Method, Frontier]]:
    """Return the frontiers under either count of parameters, by its column, for points that have a value."""
    measured = [point for point in points if point.value is not None]
    columns = {
        name: np.array([float(getattr(point, name)) for point in measured])
        for name in (*COUNTS, "tokens", "flops", "value")
    }
    return {
        count: {
            method: frontier(columns[count], columns["tokens"], columns["flops"], columns["value"], method)
            for method in METHODS
        }
        for count in COUNTS
    }


def budgets(flops: Array) -> list[Array]:
    """Return the row numbers of each budget, from small to large; `flops` is (n,)."""
    order = np.argsort(flops, kind="stable")
    jumps = np.flatnonzero(np.diff(np.log(flops[order])) > np.log(SAME_BUDGET)) + 1
    return list(np.split(order, jumps))


def _minimum(params: Array, tokens: Array, flops: Array, values: Array, method: Method) -> Minimum:
    budget = float(np.exp(np.log(flops).mean()))
    sizes, rung = np.unique(params, return_inverse=True)
    means = np.bincount(rung, weights=values) / np.bincount(rung)
    x, problem, bend = np.log10(sizes), "", None
    if len(sizes) < FEWEST_SIZES:
        problem = f"{len(sizes)} sizes are too few for a minimum; train at least {FEWEST_SIZES}"
    elif np.argmin(means) in (0, len(sizes) - 1):
        problem = "the best size is at the edge; train sizes beyond it"
    if problem:
        best, value = float(x[np.argmin(means)]), float(means.min())
    else:
        best, value, bend = _parabola(x, means) if method == "parabola" else _interpolation(x, means)
        if not x[0] < best < x[-1]:
            problem = "the parabola has its minimum outside the sizes; train more of them"
    log_tokens = np.bincount(rung, weights=np.log10(tokens)) / np.bincount(rung)
    best_tokens = 10 ** float(np.interp(best, x, log_tokens))
    return Minimum(flops=budget, params=10**best, tokens=best_tokens, value=value, bend=bend, problem=problem)


def _parabola(x: Array, means: Array) -> tuple[float, float, float | None]:
    middle = float(x.mean())
    bend, tilt, height = map(float, np.polyfit(x - middle, means, 2))
    if bend <= 0:
        return float("inf"), float(means.min()), None
    return middle - tilt / (2 * bend), height - tilt**2 / (4 * bend), bend


def _interpolation(x: Array, means: Array) -> tuple[float, float, None]:
    fine = np.linspace(x[0], x[-1], GRID)
    curve = Akima1DInterpolator(x, means)(fine)
    lowest = int(np.argmin(curve))
    return float(fine[lowest]), float(curve[lowest]), None


def _growth(
    minima: Sequence[Minimum], what: Literal["params", "tokens"]
) -> tuple[float, tuple[float | None, float | None]]:
    """Return the exponent of the best N or D in C, and its interval."""
    points = Points(
        inputs=np.array([[one.flops] for one in minima]),
        values=np.array([getattr(one, what) for one in minima]),
        weights=None,
        names=tuple(f"{one.flops:g}" for one in minima),
    )
    fit = fit_points(load("power"), points)
    low, high = fit.bounds["alpha"]
    return -fit.solution.coefficients["alpha"], (
        None if high is None else -high,
        None if low is None else -low,
    )
