"""How much each point counts: the inverse of what its seed and its evaluation leave open."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.study.collect import Point, as_points, values_of
from pipeline.study.form import Array, Loss
from pipeline.study.table import Points


def errors(points: Sequence[Point], *columns: str) -> Array | None:
    """Return the standard error (n,) of each point: of its seed, pooled over sizes, and of its evaluation.

    The `columns` tell sizes apart. The scatter of seeds holds the evaluation's error already where all seeds
    answer the same examples with different luck; the larger of the two is taken, so that neither is counted
    twice. None where nothing is known of either.
    """
    values = values_of(points)
    places = np.array([[float(getattr(p, column)) for column in columns] for p in points])
    rung = np.unique(places, axis=0, return_inverse=True)[1].reshape(-1)
    counts = np.bincount(rung)
    means = np.bincount(rung, weights=values) / counts
    freedom = int(np.sum(counts - 1))
    seeds = float(np.sum((values - means[rung]) ** 2) / freedom) ** 0.5 if freedom else 0.0
    found = np.array([max(seeds, point.stderr or 0.0) for point in points])
    return found if (found > 0).all() else None


def weights(points: Sequence[Point], *columns: str, loss: Loss = "mse") -> Array | None:
    """Return the weight (n,) of each point in squares of residuals; None where all count the same."""
    found = errors(points, *columns)
    return None if found is None else inverse_squares(found, values_of(points), loss)


def inverse_squares(errors: Array, values: Array, loss: Loss) -> Array:
    """Return the weights (n,) of values with these standard errors; of logarithms with the relative ones."""
    return np.asarray(1 / errors**2 if loss == "mse" else (values / errors) ** 2)


def weighed(points: Sequence[Point], *columns: str, loss: Loss) -> Points:
    """Return points of one metric in the form the fitter takes, with these columns and their weights."""
    return as_points(points, *columns, weights=weights(points, *columns, loss=loss))


def told(points: Sequence[Point], *columns: str) -> str:
    """Return in words how the points are weighed."""
    if errors(points, *columns) is None:
        return "all points count the same: neither seeds nor the evaluation tell every point's error"
    return "by the inverse square of the scatter of seeds or the evaluation's error, whichever is larger"
