"""How far points scatter about a law, and what that says of its coefficients.

Points that share their inputs are seeds of one size. Sizes scatter about a law for more reasons than seeds
do, so the residual variance is taken between sizes: with one point per size this is the textbook formula, and
with several it stays valid when a whole size lies off the law.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from pipeline.study.form import Array, Counts
from pipeline.study.solve import Solution

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Residual variance between sizes, and the covariance of the search coordinates at the solution."""

    sizes: int
    freedom: int  # degrees of freedom of the variance; 0 where nothing can be said
    variance: float
    covariance: Array  # (P, P)
    note: str = ""

    @property
    def quantile(self) -> float:
        """Student's t at the confidence used."""
        return float(t.ppf((1 + CONFIDENCE) / 2, self.freedom))


def spread(solution: Solution) -> Spread:
    """Return variance and covariance of a solution (both meaningless when `freedom` is 0)."""
    problem, p = solution.problem, solution.p
    rung = sizes_of(problem.inputs)
    sizes, coefficients = int(rung.max()) + 1, len(p)
    r, weights, note = problem.residuals(p), problem.weights, ""
    if sizes > coefficients:
        freedom = sizes - coefficients
        variance = float(np.sum(size_sums(rung, weights * r) ** 2 / size_sums(rung, weights))) / freedom
    else:
        freedom = max(len(r) - coefficients, 0)
        variance = float(weights @ r**2) / max(freedom, 1)
        note = (
            "as many coefficients as sizes: the intervals know the seeds' scatter only, not the law's error"
        )
    slopes = problem.residual_slopes(p)
    matrix = slopes.T @ (weights[:, None] * slopes)
    scale = 1 / np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    inverse = np.linalg.pinv(matrix * np.outer(scale, scale), rcond=1e-14, hermitian=True) * np.outer(
        scale, scale
    )
    return Spread(sizes=sizes, freedom=freedom, variance=variance, covariance=variance * inverse, note=note)


def sizes_of(inputs: Array) -> Counts:
    """Return for each point (n,) the number of its size: points with equal inputs share one."""
    return np.asarray(np.unique(inputs, axis=0, return_inverse=True)[1], dtype=np.int64).reshape(-1)


def size_sums(rung: Counts, what: Array) -> Array:
    """Return the sums (sizes,) of `what` (n,) over the points of each size."""
    return np.asarray(np.bincount(rung, weights=what), dtype=np.float64)
