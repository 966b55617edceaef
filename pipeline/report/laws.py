"""The laws of a study as the report draws and writes them, from the coefficients in fits/*.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

Coefficients = Mapping[str, float]

OF_ONE = ("log-linear", "power", "offset-power", "sigmoid")  # forms of one abscissa
FORMULAS = {
    "log-linear": "a + b·log₁₀ x",
    "power": "A·x^(−alpha)",
    "offset-power": "E + A·x^(−alpha)",
    "hoffmann": "E + A/N^alpha + B/D^beta",
    "overtraining": "E + (a·M^eta + b·M^(−eta))·C^(−eta), M = D/N",
    "sigmoid": "low + (high − low) / (1 + e^(−slope·(x − center)))",
}


def value(form: str, coefficients: Coefficients, x: float) -> float | None:
    """Return a law's value at x; None if it is no function of one abscissa, or its fit gave no numbers."""
    if form not in OF_ONE or any(number is None for number in coefficients.values()):
        return None
    if form == "log-linear":
        return coefficients["a"] + coefficients["b"] * math.log10(x)
    if form == "sigmoid":
        # The logistic function as a tanh, which does not overflow however steep the step is.
        risen = (1 + math.tanh(coefficients["slope"] * (x - coefficients["center"]) / 2)) / 2
        return coefficients["low"] + (coefficients["high"] - coefficients["low"]) * risen
    return float(coefficients.get("E", 0.0) + coefficients["A"] * x ** -coefficients["alpha"])


def spaced(low: float, high: float, count: int = 60) -> list[float]:
    """Return numbers from low to high, evenly spread over their logarithms."""
    step = (math.log(high) - math.log(low)) / (count - 1)
    return [math.exp(math.log(low) + step * n) for n in range(count)]


def line(form: str, coefficients: Coefficients, xs: Sequence[float]) -> list[float]:
    """Return a law's values at several x; nothing where it has none."""
    values = [value(form, coefficients, x) for x in xs]
    return [number for number in values if number is not None] if None not in values else []


def even(low: float, high: float, count: int = 60) -> list[float]:
    """Return evenly spread numbers from low to high."""
    return [low + (high - low) * n / (count - 1) for n in range(count)]


def middle(xs: Sequence[float]) -> float:
    """Return the mean of logarithms, where a least-squares line meets the mean of values."""
    return sum(map(math.log10, xs)) / len(xs)
