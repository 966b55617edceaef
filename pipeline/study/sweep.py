"""Reads a learning-rate sweep: the best rate of each width, and how it falls with width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.study.collect import Point
from pipeline.study.fit import fit_points
from pipeline.study.form import load
from pipeline.study.table import Points


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best learning rate of one width."""

    rung: str
    width: int
    rates: tuple[float, ...]
    means: tuple[float, ...]  # of the seeds, for each rate
    best: float
    at_edge: bool


def best_rate(rung: str, width: int, points: Sequence[Point], sign: int) -> Best:
    """Return the top of the parabola, in log rate, through the best mean and its two neighbours.

    `sign` is 1 where higher is better, -1 where lower is. At the edge of the grid the edge is returned.
    """
    rates = sorted({point.lr for point in points})
    means = [
        float(np.mean([p.value for p in points if p.lr == rate and p.value is not None])) for rate in rates
    ]
    top = int(np.argmax(sign * np.array(means)))
    at_edge = top in (0, len(rates) - 1)
    best = rates[top]
    if not at_edge:
        logs = np.log(rates[top - 1 : top + 2])
        bend, tilt, _ = np.polyfit(logs - logs[1], np.array(means[top - 1 : top + 2]), 2)
        best = float(np.exp(logs[1] - tilt / (2 * bend))) if bend else best
    return Best(rung=rung, width=width, rates=tuple(rates), means=tuple(means), best=best, at_edge=at_edge)


def verdict(
    points: Sequence[Point], rungs: Mapping[str, str], widths: Mapping[str, int], metric: str, sign: int
) -> dict[str, Any]:
    """Return the best rate of each width, the exponent that joins them, and what to beware of.

    `rungs` gives the rung of a run's name, `widths` the width of a rung.
    """
    best = [
        best_rate(rung, width, [p for p in points if rungs[p.name] == rung], sign)
        for rung, width in sorted(widths.items(), key=lambda item: item[1])
    ]
    edges = [
        f"{one.rung}: the best rate {one.best:g} is at the edge of its grid; widen it"
        for one in best
        if one.at_edge
    ]
    rule = _rule(best)
    return {
        "metric": metric,
        "widths": [asdict(one) for one in best],
        "rule": rule,
        "warnings": edges,
        "summary": [
            *(f"{one.rung} (width {one.width}): best learning rate {one.best:.3g}" for one in best),
            *([_sentence(rule)] if rule else ["one width gives no exponent"]),
            *edges,
        ],
    }


def _rule(best: Sequence[Best]) -> dict[str, Any] | None:
    """Return base, base_width and exponent of lr = base * (width / base_width)^exponent."""
    if len({one.width for one in best}) < 2:
        return None
    middle = best[len(best) // 2].width
    points = Points(
        inputs=np.array([[one.width / middle] for one in best]),
        values=np.array([one.best for one in best]),
        weights=None,
        names=tuple(one.rung for one in best),
    )
    fit = fit_points(load("power"), points)
    low, high = fit.bounds["alpha"]
    return {
        "base": fit.solution.coefficients["A"],
        "base_width": middle,
        "exponent": -fit.solution.coefficients["alpha"],
        "exponent_interval": [None if high is None else -high, None if low is None else -low],
        "interval_method": fit.interval_method,
    }


def _sentence(rule: Mapping[str, Any]) -> str:
    low, high = rule["exponent_interval"]
    interval = f" (95 % interval {low:.2f} to {high:.2f})" if low is not None and high is not None else ""
    power = f"(width / {rule['base_width']})^{rule['exponent']:.2f}"
    return f"learning rate = {rule['base']:.3g} * {power}{interval}"
