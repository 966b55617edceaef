"""Sizes at equal FLOPs: the curve of each budget, and how its best size grows with the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from pipeline.study import isoflop
from pipeline.study.collect import Point, values_of
from pipeline.study.isoflop import COUNTS
from pipeline.study.law import Question
from pipeline.study.measured import noise, sizes


def curves(points: Sequence[Point], question: Question) -> dict[str, Any]:
    """Return each budget's sizes with their mean, and what they say; there is at least one point."""
    flops = np.array([point.flops for point in points])
    groups = [[points[row] for row in rows] for rows in isoflop.budgets(flops)]
    measured = [sizes(group, question.label, "params_non_embedding") for group in groups]
    scatter = noise([size for group in measured for size in group])
    budgets = [
        {
            "flops": float(np.exp(np.log([p.flops for p in group]).mean())),
            "points": [_curve_point(size.rung, group, question) for size in found],
        }
        for group, found in zip(groups, measured, strict=True)
    ]
    said = [
        f"{len(budgets)} budgets of {budgets[0]['flops']:.3g} to {budgets[-1]['flops']:.3g} FLOPs, "
        f"{min(map(len, measured))} to {max(map(len, measured))} sizes each."
    ]
    return {"budgets": budgets, "noise": asdict(scatter), "summary": said}


def frontiers(points: Sequence[Point], arm: str) -> list[dict[str, Any]]:
    """Return the minima and exponents by either count of parameters and either method; lower is better."""
    return [
        {"arm": arm, "count": count, "count_words": COUNTS[count], **asdict(found)}
        for count, methods in isoflop.by_count(points).items()
        for found in methods.values()
    ]


def sentence(row: dict[str, Any]) -> str:
    """Return what one frontier says."""
    begin = f"Equal FLOPs, {row['count_words']}, by {row['method']}"
    if not row["exponents"]:
        return f"{begin}: no exponents; {'; '.join(row['warnings'])}."
    grown = " and ".join(
        f"{what} ~ C^{row['exponents'][name]:.2f}{_ends(row['intervals'][name])}"
        for name, what in (("a", "the best size"), ("b", "its tokens"))
    )
    usable = sum(not minimum["problem"] for minimum in row["minima"])
    return f"{begin}: {grown}, from {usable} of {len(row['minima'])} budgets."


def _curve_point(rung: str, group: Sequence[Point], question: Question) -> dict[str, Any]:
    own = [point for point in group if question.label(point) == rung]
    values = values_of(own)
    return {
        "rung": rung,
        "params": own[0].params,
        "params_non_embedding": own[0].params_non_embedding,
        "tokens": own[0].tokens,
        "flops": own[0].flops,
        "mean": float(values.mean()),
        "values": values.tolist(),
    }


def _ends(interval: Sequence[float | None]) -> str:
    low, high = interval
    return "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"
