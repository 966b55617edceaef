"""Figures of merit, each with its standard error; plain arithmetic on what was observed.

Examples taken from one document resemble each other, so errors are those of sums over documents: ratio
estimators with clusters as the independent draws (Cochran, Sampling Techniques, 1977, sections 6.4 and 9.9).
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence, Sized
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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


def median(values: Sequence[float]) -> Estimate:
    """Return the median of independent examples; its error is half the distance of the order statistics that
    lie one binomial deviation, sqrt(n) / 2, to its sides (Woodruff, JASA 47, 1952).
    """
    n = _counted(values)
    ordered, aside = sorted(values), math.sqrt(n) / 2
    low, high = math.floor((n - 1) / 2 - aside), math.ceil((n - 1) / 2 + aside)
    error = (ordered[high] - ordered[low]) / 2 if low >= 0 and high < n else None
    return Estimate((ordered[(n - 1) // 2] + ordered[n // 2]) / 2, error, n)


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


def bootstrap(
    rows: Sequence[Sequence[float]],
    figure: Callable[[Sequence[float]], float],
    draws: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Return a figure that follows from sums over independent examples, each a row of what it adds to them.

    Its error is the figure's standard deviation over `draws` sets of as many examples, drawn with replacement
    (Efron, 1979); the same at every call. For figures without a formula for theirs, such as BLEU.
    """
    n = _counted(rows)
    table = np.asarray(rows, dtype=np.float64)  # (n, sums)
    value = figure(table.sum(axis=0).tolist())
    if n < 2:
        return Estimate(value, None, n)
    generator = np.random.default_rng(seed)
    times = (generator.multinomial(n, np.full(n, 1 / n)) for _ in range(draws))
    drawn = [figure((taken @ table).tolist()) for taken in times]
    return Estimate(value, float(np.std(drawn, ddof=1)), n)


def f1_binary(labels: Sequence[bool], predictions: Sequence[bool]) -> Estimate:
    """Return 2 · TP / (2 · TP + FP + FN), which is a ratio of sums; 0 where nothing is positive at all."""
    hits = [2.0 * (label and found) for label, found in zip(labels, predictions, strict=True)]
    positives = [float(label) + float(found) for label, found in zip(labels, predictions, strict=True)]
    return ratio(hits, positives) if any(positives) else Estimate(0.0, None, _counted(hits))


def matthews(labels: Sequence[bool], predictions: Sequence[bool]) -> Estimate:
    """Return Matthews' correlation of two classes (1975), which is Pearson's of their numbers 0 and 1."""
    return pearson([float(label) for label in labels], [float(found) for found in predictions])


def pearson(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Return Pearson's correlation of independent pairs; 0 where either is constant, for it tells nothing.

    Its error is that of the mean of its influence function, x · y - r / 2 · (x² + y²) of standardised values
    (Devlin, Gnanadesikan and Kettenring, Biometrika 62, 1975), which supposes no distribution.
    """
    x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
    n = _counted(x)
    if len(y) != n:
        raise ValueError(f"{n} values against {len(y)}")
    if x.min() == x.max() or y.min() == y.max():
        return Estimate(0.0, None, n)
    x, y = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
    value = min(max(float((x * y).mean()), -1.0), 1.0)  # rounding may leave the interval
    return _with_influence(value, x * y - value / 2 * (x**2 + y**2))


def spearman(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Return Spearman's correlation of independent pairs, that of their ranks; equal values share theirs.

    Its error is that of the mean of its influence function: Pearson's of the ranks, and what an example does
    to the ranks of those above it (Croux and Dehon, Statistical Methods and Applications 19, 2010).
    """
    x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
    u, v = _ranks(x), _ranks(y)  # shares, 1/2 on average
    of_ranks = pearson(u.tolist(), v.tolist())
    if of_ranks.stderr is None:
        return of_ranks
    spread_u, spread_v = float(u.var()), float(v.var())
    product = (u * v + _above(x, v) + _above(y, u) - 3 * (u * v).mean()) / math.sqrt(spread_u * spread_v)
    own_u = (u**2 + 2 * _above(x, u) - 3 * (u**2).mean()) / spread_u
    own_v = (v**2 + 2 * _above(y, v) - 3 * (v**2).mean()) / spread_v
    return _with_influence(of_ranks.value, product - of_ranks.value / 2 * (own_u + own_v))


def glue_average(tasks: Mapping[str, Sequence[Estimate]]) -> Estimate:
    """Return the mean over tasks, of which each counts by the mean of its own metrics (Wang et al., 2018).

    Tasks are independent; the metrics of one are of the same examples, so their errors may add up.
    """
    _counted(tasks)
    each = [_mean_of_metrics(metrics) for metrics in tasks.values()]
    value = math.fsum(task.value for task in each) / len(each)
    errors = [task.stderr for task in each if task.stderr is not None]
    stderr = math.hypot(*errors) / len(each) if len(errors) == len(each) else None
    return Estimate(value, stderr, sum(task.num_examples for task in each))


def _mean_of_metrics(metrics: Sequence[Estimate]) -> Estimate:
    errors = [metric.stderr for metric in metrics if metric.stderr is not None]
    stderr = math.fsum(errors) / len(errors) if len(errors) == len(metrics) else None
    value = math.fsum(metric.value for metric in metrics) / _counted(metrics)
    return Estimate(value, stderr, max(metric.num_examples for metric in metrics))


def _with_influence(value: float, influence: NDArray[np.float64]) -> Estimate:
    """Return an estimate whose examples move it by these amounts, over their number."""
    n = len(influence)
    error = math.sqrt(float((influence**2).sum()) / (n * (n - 1)))
    return Estimate(value, error, n)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each value the share of values below it, and half of those that equal it."""
    return 1 - _above(values, np.ones(len(values)))


def _above(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each value the mean of the weights of those above it, and half of those that equal it."""
    _, place = np.unique(values, return_inverse=True)
    weight = np.bincount(place, weights)
    above: NDArray[np.float64] = weight[::-1].cumsum()[::-1] - weight / 2
    return above[place] / len(values)


def _counted(examples: Sized) -> int:
    if not len(examples):
        raise ValueError("no examples, so no estimate")
    return len(examples)
