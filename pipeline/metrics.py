"""Figures of merit, each with its standard error; plain arithmetic on what was observed.

Examples taken from one document resemble each other, so errors are those of sums over documents: ratio
estimators with clusters as the independent draws (Cochran, Sampling Techniques, 1977, sections 6.4 and 9.9).
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A value, its standard error (None where too little was seen) and the number of examples behind it."""

    value: float
    stderr: float | None
    num_examples: int


def accuracy(hits: Sequence[bool]) -> Estimate:
    """Return the share of hits among independent examples, with the binomial error sqrt(p · (1 - p) / n)."""
    n = _counted(hits)
    share = sum(hits) / n
    return Estimate(share, math.sqrt(share * (1 - share) / n), n)


def mean(values: Sequence[float]) -> Estimate:
    """Return the mean of independent examples."""
    return ratio(values, [1.0] * len(values))


def clustered_mean(values: Sequence[float], clusters: Sequence[Hashable]) -> Estimate:
    """Return the mean over examples, with an error for draws of whole clusters (one name for each)."""
    return clustered_ratio(values, [1.0] * len(values), clusters)


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Estimate:
    """Return sum over sum of independent pairs, with the linearised error of a ratio estimator."""
    return clustered_ratio(numerators, denominators, range(len(numerators)))


def clustered_ratio(
    numerators: Sequence[float], denominators: Sequence[float], clusters: Sequence[Hashable]
) -> Estimate:
    """Return sum over sum, with the linearised error for draws of whole clusters.

    Raises ValueError when there are no examples or the denominators sum to zero.
    """
    n = _counted(numerators)
    total = math.fsum(denominators)
    if not total:
        raise ValueError("the denominators sum to zero")
    value = math.fsum(numerators) / total
    residuals: dict[Hashable, float] = {}
    for numerator, denominator, cluster in zip(numerators, denominators, clusters, strict=True):
        residuals[cluster] = residuals.get(cluster, 0.0) + numerator - value * denominator
    drawn = len(residuals)
    if drawn < 2:
        return Estimate(value, None, n)
    variance = math.fsum(residual**2 for residual in residuals.values()) * drawn / (drawn - 1)
    return Estimate(value, math.sqrt(variance) / abs(total), n)


def perplexity(loss: Estimate) -> Estimate:
    """Return exp(loss) of a mean loss in nats, its error by the delta method."""
    value = math.exp(loss.value) if loss.value < 700 else math.inf
    return Estimate(value, None if loss.stderr is None else value * loss.stderr, loss.num_examples)


def bits_per_byte(
    nats: Sequence[float], text_bytes: Sequence[int], clusters: Sequence[Hashable] | None = None
) -> Estimate:
    """Return the bits that a text's UTF-8 byte costs, from the nats and the bytes of each example."""
    bits = [value / math.log(2) for value in nats]
    return clustered_ratio(bits, text_bytes, range(len(bits)) if clusters is None else clusters)


def _counted(examples: Sequence[object]) -> int:
    if not len(examples):
        raise ValueError("no examples, so no estimate")
    return len(examples)
