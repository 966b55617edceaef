"""Loss against compute: what each size of every arm cost, and the frontier that nothing cheaper beats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.study import choice, form
from pipeline.study.collect import Point, values_of
from pipeline.study.fit import Fit, fit_points
from pipeline.study.material import Material
from pipeline.study.table import Points

FORMS = ("log-linear", "power")
FEWEST = 3


def frontier(material: Material) -> dict[str, Any] | None:
    """Return every size at its cost, which of them lie on the frontier, and the laws through those.

    None where no run has a value.
    """
    sign = 1 if material.config.better == "higher" else -1
    rows = sorted((_row(group) for group in _groups(material)), key=lambda row: float(row["flops"]))
    best = -math.inf
    for row in rows:
        row["on_frontier"] = sign * row["value"] > best
        best = max(best, sign * row["value"])
    if not rows:
        return None
    edge = [row for row in rows if row["on_frontier"]]
    fits = _fits(edge)
    return {
        "points": rows,
        "fits": {name: fit.as_json() for name, fit in fits.items()},
        "words": _words(material.metric, rows, edge, fits),
    }


def _groups(material: Material) -> list[list[Point]]:
    """Return the seeds of each size, arm and number of tokens."""
    groups: dict[tuple[str, int, int], list[Point]] = {}
    for point in material.of_regimes():
        groups.setdefault((point.arm, point.params, point.tokens), []).append(point)
    return list(groups.values())


def _row(group: Sequence[Point]) -> dict[str, Any]:
    first = group[0]
    return {
        "name": first.name,
        "arm": first.arm,
        "params": first.params,
        "params_non_embedding": first.params_non_embedding,
        "tokens": first.tokens,
        "flops": first.flops,
        "value": float(values_of(group).mean()),
        "seeds": len(group),
    }


def _fits(edge: Sequence[dict[str, Any]]) -> dict[str, Fit]:
    values = np.array([row["value"] for row in edge])
    points = Points(
        inputs=np.array([[row["flops"]] for row in edge]),
        values=values,
        weights=None,
        names=tuple(row["name"] for row in edge),
    )
    if len(edge) < FEWEST:
        return {}
    laws = [form.load(name) for name in FORMS if name == "log-linear" or (values > 0).all()]
    return {law.name: fit_points(law, points, loss=choice.study_loss(law)) for law in laws}


def _words(metric: str, rows: Sequence[Any], edge: Sequence[dict[str, Any]], fits: dict[str, Fit]) -> str:
    said = (
        f"Of {len(rows)} sizes and horizons {len(edge)} lie on the frontier of {metric} against compute, "
        f"{edge[0]['flops']:.3g} to {edge[-1]['flops']:.3g} FLOPs"
    )
    if not fits:
        return f"{said}: too few for a law."
    line = fits["log-linear"]
    low, high = line.bounds["b"]
    ends = "" if low is None or high is None else f" ({low:+.4f} to {high:+.4f})"
    return f"{said}: {line.solution.coefficients['b']:+.4f} per decade of compute{ends}."
