"""Accuracy in two steps (Bhagia et al. 2024): bits per byte from size, then accuracy from bits per byte."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.study.form import Array
from pipeline.study.solve import Solution
from pipeline.study.spread import CONFIDENCE, Spread, spread

DRAWS = 2000


@dataclass(frozen=True, kw_only=True)
class Chained:
    """Accuracies (m,) with the interval of one new run, and the bits per byte they rest on."""

    bits_per_byte: Array
    value: Array
    low: Array
    high: Array
    warnings: tuple[str, ...]

    @property
    def refusal(self) -> str:
        """Why this is no prediction, or nothing: a value is no share, or its interval contradicts it."""
        for value, low, high in zip(self.value.round(3), self.low.round(3), self.high.round(3), strict=True):
            if not 0 <= value <= 1:
                return f"the sigmoid says {value:.3f}, which is no share"
            if value < low or value > high:
                return f"the sigmoid says {value:.3f}, and its coefficients' scatter {low:.3f} to {high:.3f}"
        return ""


def chain(first: Solution, second: Solution, inputs: Array, *, seed: int = 0) -> Chained:
    """Return accuracy at `inputs` (m, k) by a law of bits per byte and a sigmoid of accuracy against them.

    The interval holds both laws' errors and both scatters: coefficients are drawn from their covariance, and
    a new run's bits per byte and accuracy from the residual variance. Student's t has the fewer degrees of
    freedom of the two; with none left there is no interval.
    """
    middle = first.predict(inputs)
    value = second.predict(middle[:, None])
    measured = spread(first), spread(second)
    freedom = min(one.freedom for one in measured)
    warnings = _warnings(second, middle)
    if freedom < 1:
        unknown = np.full(len(value), np.nan)
        warnings.append("no degrees of freedom are left: no interval")
        return Chained(bits_per_byte=middle, value=value, low=unknown, high=unknown, warnings=tuple(warnings))
    generator = np.random.default_rng(seed)
    # Normal draws divided by the root of a chi square are Student's t, the same for all coefficients.
    wider = np.sqrt(freedom / generator.chisquare(freedom, DRAWS))
    ends = []
    for wide in wider:
        drawn = _new_run(first, measured[0], inputs, wide, generator)
        ends.append(_new_run(second, measured[1], drawn[:, None], wide, generator))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(ends, [tail, 1 - tail], axis=0)
    return Chained(bits_per_byte=middle, value=value, low=low, high=high, warnings=tuple(warnings))


def _new_run(
    solution: Solution, measured: Spread, inputs: Array, wide: float, generator: np.random.Generator
) -> Array:
    """Return what one new run at `inputs` (m, k) may measure, (m,)."""
    problem = solution.problem
    # Where coefficients are nearly the same thing, rounding leaves variances a little below zero.
    variances, directions = np.linalg.eigh(measured.covariance)
    drawn = np.sqrt(np.maximum(variances, 0)) * generator.standard_normal(len(variances))
    p = solution.p + wide * directions @ drawn
    scatter = wide * np.sqrt(measured.variance) * generator.standard_normal(len(inputs))
    values = problem.predict(p, inputs)
    return np.asarray(values + scatter if problem.loss == "mse" else values * np.exp(scatter))


def _warnings(second: Solution, middle: Array) -> list[str]:
    seen = second.problem.inputs[:, 0]
    outside = int(np.sum((middle < seen.min()) | (middle > seen.max())))
    which = f"{outside} of {len(middle)} predicted" if len(middle) > 1 else "the predicted"
    return [f"{which} bits per byte lie outside those the sigmoid was fitted to"] if outside else []
