"""The largest size's accuracy on each task, predicted in two steps through bits per byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.study import choice, form, merit
from pipeline.study.caveats import ILL_CONDITIONED, condition
from pipeline.study.collect import Point, values_of
from pipeline.study.form import Array
from pipeline.study.material import Material
from pipeline.study.plan import PlannedArm
from pipeline.study.problem import Problem
from pipeline.study.solve import Solution, solve
from pipeline.study.survey import UNFIT
from pipeline.study.two_step import Chained, chain

BITS = "bits_per_byte"


def rows(material: Material, series: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the prediction of each accuracy in each ladder; `series` are the rows of every metric."""
    shapes = {(row["arm"], row["metric"]): str(row["shape"]) for row in series}
    found = []
    for arm in material.ladders:
        for metric in material.metrics:
            bits = _bits_of(material, metric)
            if bits and (arm.name, metric) in shapes:
                found.append(_row(material, arm, metric, bits, shapes[arm.name, metric]))
    return found


def _bits_of(material: Material, metric: str) -> str | None:
    """Return the bits per byte that go with an accuracy: the task's, or those the study is judged by."""
    if not merit.is_share(metric):
        return None
    own = f"{merit.task(metric)}.{BITS}"
    if own in material.metrics:
        return own
    return material.metric if material.metric.endswith(f".{BITS}") else None


def _row(material: Material, arm: PlannedArm, metric: str, bits: str, shape: str) -> dict[str, Any]:
    pairs = _pairs(material.of_arm(arm, bits), material.of_arm(arm, metric))
    below = [pair for pair in pairs if material.below(pair[:1], arm)]
    largest = [pair for pair in pairs if not material.below(pair[:1], arm)]
    why_not = _why_not(material, below, shape)
    steps = None if why_not else _steps(material, arm, below, bits)
    chained = _chained(material, arm, steps)
    if chained and chained.refusal:
        why_not, chained = f"not predicted: {chained.refusal}", None
    row = {
        "arm": arm.name,
        "task": merit.task(metric),
        "bits_metric": bits,
        "accuracy_metric": metric,
        "rung": material.largest(arm).rung,
        "law": steps[0].problem.form.name if steps else None,
        "bits_predicted": float(chained.bits_per_byte[0]) if chained else None,
        "bits_observed": _mean([pair[0] for pair in largest]),
        "predicted": _known(chained.value) if chained else None,
        "low": _known(chained.low) if chained else None,
        "high": _known(chained.high) if chained else None,
        "observed": _mean([pair[1] for pair in largest]),
        "points": [{"name": b.name, "bits": b.value, "accuracy": a.value} for b, a in pairs],
        "sigmoid": {"coefficients": steps[1].coefficients, "n": len(below)} if steps else None,
        "warnings": [*([why_not] if why_not else []), *_warnings(steps, bits, metric), *_said(chained)],
    }
    row |= _error(row)
    return row | {"words": _words(row)}


def _pairs(bits: Sequence[Point], accuracies: Sequence[Point]) -> list[tuple[Point, Point]]:
    """Return bits and accuracy of the runs that have both."""
    by_name = {point.name: point for point in accuracies}
    return [(point, by_name[point.name]) for point in bits if point.name in by_name]


def _why_not(material: Material, below: Sequence[tuple[Point, Point]], shape: str) -> str:
    """Return why there is no prediction, or nothing."""
    if shape.startswith(UNFIT):
        return f"not fitted: {shape}"
    if not material.can_choose([bits for bits, _ in below]):
        return "too few sizes below the largest to choose a law of bits per byte"
    needed, found = form.load("sigmoid").fewest_sizes, len({bits.value for bits, _ in below})
    return f"{found} runs below the largest; a sigmoid needs {needed}" if found < needed else ""


def _steps(
    material: Material, arm: PlannedArm, below: Sequence[tuple[Point, Point]], metric: str
) -> tuple[Solution, Solution]:
    """Return the law of bits per byte, chosen without the second largest, and the sigmoid of accuracy."""
    bits = [pair[0] for pair in below]
    chosen = choice.choose(bits, metric, material.target(arm))["chosen"]
    first = choice.fitted(chosen, bits, material.config.abscissa).solution
    accuracy = values_of([pair[1] for pair in below])
    return first, solve(Problem.of(form.load("sigmoid"), "mse", values_of(bits)[:, None], accuracy))


def _chained(material: Material, arm: PlannedArm, steps: tuple[Solution, Solution] | None) -> Chained | None:
    return chain(*steps, np.array([[material.target(arm).size]])) if steps else None


def _warnings(steps: tuple[Solution, Solution] | None, bits: str, metric: str) -> list[str]:
    warnings = []
    if merit.task(bits) != merit.task(metric):
        warnings.append(f"the task tells no bits per byte: {bits} stands in for it")
    if steps and not steps[1].converged:
        warnings.append("the search for the sigmoid did not converge")
    if steps and (number := condition(steps[1])) > ILL_CONDITIONED:
        warnings.append(f"condition number of the sigmoid {number:.3g}: other ones fit about as well")
    return warnings


def _said(chained: Chained | None) -> tuple[str, ...]:
    return chained.warnings if chained else ()


def _error(row: Mapping[str, Any]) -> dict[str, Any]:
    predicted, observed, low, high = (row[key] for key in ("predicted", "observed", "low", "high"))
    known = predicted is not None and observed is not None
    inside = low is not None and high is not None and observed is not None and low <= observed <= high
    return {"error": predicted - observed if known else None, "inside_interval": inside}


def _words(row: Mapping[str, Any]) -> str:
    arm = f"{row['arm']}: " if row["arm"] else ""
    begin = f"{arm}{row['accuracy_metric']} through {row['bits_metric']}"
    if row["predicted"] is None:
        return f"{begin}: {row['warnings'][0]}."
    ends = "" if row["low"] is None else f" (95 % interval {row['low']:.3f} to {row['high']:.3f})"
    seen = "not measured" if row["observed"] is None else f"observed {row['observed']:.3f}"
    return f"{begin}: {row['predicted']:.3f}{ends} predicted for {row['rung']}, {seen}."


def _mean(points: Sequence[Point]) -> float | None:
    return float(values_of(points).mean()) if points else None


def _known(number: Array) -> float | None:
    """Return a share or an end of its interval, or None where it is not known."""
    return float(np.clip(number[0], 0, 1)) if np.isfinite(number[0]) else None
