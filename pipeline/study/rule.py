"""Judges a ladder by the rule stated before it was trained, and says in plain sentences what the data say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from pipeline.study.collect import Point, values_of
from pipeline.study.fit import Fit
from pipeline.study.plan import Plan

Better = Literal["lower", "higher"]


@dataclass(frozen=True, kw_only=True)
class Size:
    """One rung as measured."""

    rung: str
    params: int
    params_non_embedding: int
    tokens: int
    values: tuple[float, ...]
    seeds: tuple[int, ...]
    mean: float
    seed_sd: float | None
    stderr: float | None


@dataclass(frozen=True, kw_only=True)
class Noise:
    """How much one run scatters for reasons that have nothing to do with its size."""

    value: float | None
    source: str


def sizes(points: Sequence[Point], plan: Plan) -> list[Size]:
    """Return the rungs from small to large, with the scatter of their seeds and the mean error."""
    rungs = {run.name: run.rung for run in plan.runs}
    grouped: dict[str, list[Point]] = {}
    for point in sorted(points, key=lambda p: (p.params_non_embedding, p.seed)):
        grouped.setdefault(rungs[point.name], []).append(point)
    return [_size(rung, group) for rung, group in grouped.items()]


def noise(measured: Sequence[Size]) -> Noise:
    """Return the pooled standard deviation of seeds, or without repeats the evaluation's standard error."""
    repeated = [size for size in measured if len(size.values) > 1]
    freedom = sum(len(size.values) - 1 for size in repeated)
    if freedom:
        squares = sum((value - size.mean) ** 2 for size in repeated for value in size.values)
        return Noise(
            value=math.sqrt(squares / freedom),
            source=f"pooled standard deviation of seeds ({freedom} degrees of freedom)",
        )
    errors = [size.stderr for size in measured if size.stderr]
    if errors:
        return Noise(
            value=max(errors), source="largest standard error of the evaluation; no seed was repeated"
        )
    return Noise(value=None, source="unknown: no seed was repeated and the evaluation gave no standard error")


def verdict(
    measured: Sequence[Size], fits: Mapping[str, Fit], choice: Mapping[str, Any], plan: Plan, better: Better
) -> dict[str, Any]:
    """Return every rung, inversion and criterion, and sentences that say what follows."""
    sign = 1 if better == "higher" else -1
    inversions = [
        {"smaller": small.rung, "larger": large.rung, "difference": large.mean - small.mean}
        for small, large in zip(measured, measured[1:], strict=False)
        if sign * (large.mean - small.mean) <= 0
    ]
    scatter = noise(measured)
    held_out = _held_out(measured[-1], choice, scatter)
    criteria = _criteria(plan.success, len(measured), inversions, fits["log-linear"], held_out, sign)
    return {
        "metric": choice["metric"],
        "better": better,
        "abscissa": choice["abscissa"],
        "sizes": [asdict(size) for size in measured],
        "noise": asdict(scatter),
        "inversions": inversions,
        "held_out": held_out,
        "criteria": criteria,
        "passed": all(criterion["passed"] for criterion in criteria),
        "summary": _sentences(measured, inversions, fits, choice, held_out, scatter, criteria),
    }


def _size(rung: str, points: Sequence[Point]) -> Size:
    values = values_of(points)
    errors = [point.stderr for point in points if point.stderr is not None]
    first = points[0]
    return Size(
        rung=rung,
        params=first.params,
        params_non_embedding=first.params_non_embedding,
        tokens=first.tokens,
        values=tuple(map(float, values)),
        seeds=tuple(point.seed for point in points),
        mean=float(values.mean()),
        seed_sd=float(values.std(ddof=1)) if len(values) > 1 else None,
        stderr=float(np.mean(errors)) if errors else None,
    )


def _held_out(largest: Size, choice: Mapping[str, Any], scatter: Noise) -> dict[str, Any]:
    prediction = choice["prediction"]
    error = prediction["value"] - largest.mean
    inside = prediction["low"] is not None and prediction["low"] <= largest.mean <= prediction["high"]
    return {
        "rung": largest.rung,
        "form": choice["chosen"],
        "predicted": prediction["value"],
        "low": prediction["low"],
        "high": prediction["high"],
        "observed": largest.mean,
        "error": error,
        "relative_error": error / largest.mean if largest.mean else None,
        "error_in_noise": abs(error) / scatter.value if scatter.value else None,
        "inside_interval": inside,
        "predicted_before_training": choice["before_the_largest"],
    }


def _criteria(
    success: Mapping[str, Any],
    count: int,
    inversions: Sequence[Any],
    line: Fit,
    held_out: Mapping[str, Any],
    sign: int,
) -> list[dict[str, Any]]:
    ordered = 1 - len(inversions) / max(count - 1, 1)
    low, high = line.bounds["b"]
    gain = sign * line.solution.coefficients["b"] > 0
    certain = low is not None and high is not None and (low > 0 or high < 0)
    return [
        {
            "name": "larger is better",
            "rule": f"at least {success['ordered_fraction']:.0%} of neighbouring sizes are in order",
            "value": ordered,
            "passed": ordered >= success["ordered_fraction"] - 1e-12,
        },
        {
            "name": "log-linear slope",
            "rule": "the 95 % interval of the slope per decade excludes zero, on the side of improvement",
            "value": [low, high],
            "passed": certain and gain,
        },
        {
            "name": "the largest was predicted",
            "rule": "the largest lies inside the 95 % interval that was predicted before it was trained",
            "value": held_out["observed"],
            "passed": bool(held_out["inside_interval"] and held_out["predicted_before_training"]),
        },
    ]


def _sentences(
    measured: Sequence[Size],
    inversions: Sequence[Mapping[str, Any]],
    fits: Mapping[str, Fit],
    choice: Mapping[str, Any],
    held_out: Mapping[str, Any],
    scatter: Noise,
    criteria: Sequence[Mapping[str, Any]],
) -> list[str]:
    steps, first, last = len(measured) - 1, measured[0], measured[-1]
    decades = math.log10(last.params_non_embedding / first.params_non_embedding)
    line = fits["log-linear"]
    said = [
        f"{len(measured)} sizes over {decades:.2f} decades of non-embedding parameters, {last.tokens:,} "
        f"tokens a run: {choice['metric']} goes from {first.mean:.4f} to {last.mean:.4f}.",
        f"Larger is better in {steps - len(inversions)} of {steps} steps"
        + (f"; not from {_pairs(inversions)}." if inversions else "."),
        f"Noise of one run: {scatter.value:.4f} ({scatter.source})."
        if scatter.value
        else f"Noise: {scatter.source}.",
        f"The line gains {line.solution.coefficients['b']:+.4f} per decade"
        f"{_interval(line.bounds['b'])}, by {line.interval_method}.",
        _prediction_sentence(held_out),
        _comparison(fits),
    ]
    failed = [str(c["name"]) for c in criteria if not c["passed"]]
    if not failed:
        return [*said, "By the rule set before training the study succeeded on every count."]
    said.append(f"By the rule set before training the study failed on: {'; '.join(failed)}.")
    if not inversions:
        said.append("What the data do support is that larger is better, not the particular law.")
    return said


def _prediction_sentence(held_out: Mapping[str, Any]) -> str:
    when = (
        "before it was trained" if held_out["predicted_before_training"] else "but not before it was trained"
    )
    error = f"off by {held_out['error']:+.4f}"
    if held_out["error_in_noise"] is not None:
        error += f", {held_out['error_in_noise']:.1f} times the noise of one run"
    where = "inside" if held_out["inside_interval"] else "outside"
    interval = _interval((held_out["low"], held_out["high"]))
    return (
        f"The largest was predicted by the {held_out['form']} law, {when}: "
        f"{held_out['predicted']:.4f}{interval}, observed {held_out['observed']:.4f}, {error}"
        + (f"; {where} the interval." if held_out["low"] is not None else ".")
    )


def _comparison(fits: Mapping[str, Fit]) -> str:
    """Say how far each form misses all sizes; with so few a small difference decides nothing."""
    misses = {
        name: math.sqrt(fit.rss / len(fit.solution.problem.values))
        for name, fit in fits.items()
        if fit.solution.converged
    }
    listed = ", ".join(
        f"{name} {miss:.4f}" for name, miss in sorted(misses.items(), key=lambda item: item[1])
    )
    return f"Root mean square distance of the points: {listed} (offset-power has one coefficient more)."


def _pairs(inversions: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(
        f"{pair['smaller']} to {pair['larger']} ({pair['difference']:+.4f})" for pair in inversions
    )


def _interval(ends: tuple[float | None, float | None]) -> str:
    low, high = ends
    return f" (95 % interval {low:.4f} to {high:.4f})" if low is not None and high is not None else ""
