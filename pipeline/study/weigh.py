"""How much each point counts: the inverse of what its seed and its evaluation leave open."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.study.collect import Point, values_of
from pipeline.study.form import Array


def errors(points: Sequence[Point], abscissa: str) -> Array | None:
    """Return the standard error (n,) of each point: of its seed, pooled over sizes, and of its evaluation.

    The scatter of seeds holds the evaluation's error already where all seeds answer the same examples with
    different luck; the larger of the two is taken, so that neither is counted twice. None where nothing is
    known of either.
    """
    values = values_of(points)
    _, rung = np.unique([float(getattr(p, abscissa)) for p in points], return_inverse=True)
    counts = np.bincount(rung)
    means = np.bincount(rung, weights=values) / counts
    freedom = int(np.sum(counts - 1))
    seeds = float(np.sum((values - means[rung]) ** 2) / freedom) ** 0.5 if freedom else 0.0
    found = np.array([max(seeds, point.stderr or 0.0) for point in points])
    return found if (found > 0).all() else None


def weights(points: Sequence[Point], abscissa: str) -> Array | None:
    """Return the weight (n,) of each point in squares of residuals; None where all count the same."""
    found = errors(points, abscissa)
    return None if found is None else 1 / found**2
