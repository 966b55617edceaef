"""Judges a ladder by the rule stated before it was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.study.measured import Noise, Size
from pipeline.study.merit import Better


def inversions(measured: Sequence[Size], better: Better) -> list[dict[str, Any]]:
    """Return the neighbouring sizes of which the larger is no better."""
    sign = 1 if better == "higher" else -1
    return [
        {"smaller": small.rung, "larger": large.rung, "difference": large.mean - small.mean}
        for small, large in zip(measured, measured[1:], strict=False)
        if sign * (large.mean - small.mean) <= 0
    ]


def held_out(largest: Size, choice: Mapping[str, Any], scatter: Noise) -> dict[str, Any]:
    """Return the prediction of the largest size beside what was measured."""
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


def criteria(
    success: Mapping[str, Any],
    count: int,
    wrong: Sequence[Any],
    line: Mapping[str, Any] | None,
    predicted: Mapping[str, Any] | None,
    better: Better,
) -> list[dict[str, Any]]:
    """Return each criterion of success with its rule, what was found and whether it is met.

    `count` sizes were measured, `wrong` are the inversions, `line` and `predicted` are the slope and the
    largest size's prediction; None where there is none, and then their criteria are not met.
    """
    sign = 1 if better == "higher" else -1
    ordered = 1 - len(wrong) / max(count - 1, 1)
    low, high = (line["low"], line["high"]) if line else (None, None)
    gain = line is not None and sign * line["slope"] > 0
    certain = low is not None and high is not None and (low > 0 or high < 0)
    met = predicted and predicted["inside_interval"] and predicted["predicted_before_training"]
    return [
        {
            "name": "larger is better",
            "rule": f"{_share(success['ordered_fraction'])} neighbouring sizes are in order",
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
            "value": predicted["observed"] if predicted else None,
            "passed": bool(met),
        },
    ]


def _share(fraction: float) -> str:
    return "all" if fraction == 1 else f"at least {fraction:.0%} of"
