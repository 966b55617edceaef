"""Whether a model is right as often as it is sure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics import Estimate, mean

BINS = 10
RESAMPLES = 1000


def most_confident(confidences: Sequence[float], hits: Sequence[float], share: float) -> Estimate:
    """Return the mean of the hits of the most confident share of examples, one at least; earlier ones first.

    The error is that of the chosen, as if they had been chosen without looking.
    """
    count = max(math.ceil(share * len(hits)), 1)
    order = sorted(range(len(hits)), key=lambda place: -confidences[place])
    return mean([hits[place] for place in order[:count]])


def calibration_error(confidences: Sequence[float], hits: Sequence[float], seed: int) -> Estimate:
    """Return the mean distance between confidence and share of hits, in ten bins of as many examples each.

    This is the expected calibration error (Guo et al., 2017, equation 3) with bins of equal counts (Nguyen
    and O'Connor, 2015, section 4.1): confidences of answers crowd near 0, where bins of equal width would
    hold nearly all. The error is that of a bootstrap, None below two examples.
    """
    both = np.array([confidences, hits], dtype=np.float64)  # (2, N)
    value = _error(both)
    n = both.shape[1]
    if n < 2:
        return Estimate(value, None, n)
    draw = np.random.default_rng(seed)
    errors = [_error(both[:, draw.integers(n, size=n)]) for _ in range(RESAMPLES)]
    return Estimate(value, float(np.std(errors, ddof=1)), n)


def _error(both: NDArray[np.float64]) -> float:
    """Return the calibration error of confidences and hits (2, N)."""
    ordered = both[:, np.argsort(both[0], kind="stable")]
    distances = [abs(float(part[0].sum() - part[1].sum())) for part in np.array_split(ordered, BINS, axis=1)]
    return sum(distances) / len(ordered[0])
