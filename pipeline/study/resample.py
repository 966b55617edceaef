"""Fits of tables that might as well have been measured: runs, seeds, residuals or noise drawn again."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.stats import norm

from pipeline.study.form import Array, Counts
from pipeline.study.problem import Problem
from pipeline.study.solve import Solution, solve
from pipeline.study.spread import CONFIDENCE, size_sums, sizes_of, spread

FEWEST_FOR_PAIRS = 10  # below this many sizes, resampling them often leaves fewer sizes than coefficients

Draw = Callable[[Solution, Counts, np.random.Generator], Problem]


def resample(
    solution: Solution, draws: int, seed: int, noise: Array | None = None
) -> tuple[list[Solution], str]:
    """Return solutions of `draws` resampled problems and the name of the way they were made.

    With `noise` (n,), the standard error of each value, normal noise is added to the law. Without it runs are
    drawn; where sizes are few their seeds are, if every size has some, or else the residuals of the sizes.
    """
    rung = sizes_of(solution.problem.inputs)
    draw, name = _way(rung, noise)
    generator = np.random.default_rng(seed)
    found = [solve(draw(solution, rung, generator), near=solution) for _ in range(draws)]
    return found, f"percentile bootstrap, {draws} draws, {name}"


def _way(rung: Counts, noise: Array | None) -> tuple[Draw, str]:
    if noise is not None:
        return _noisy(noise), "normal noise of the given standard errors added to the law"
    if rung.max() + 1 >= FEWEST_FOR_PAIRS:
        return _draw_sizes, "sizes drawn with replacement"
    if np.bincount(rung).min() > 1:
        return _draw_seeds, "seeds of each size drawn with replacement, the law's own error left out"
    return _draw_residuals, "residuals of the sizes drawn with replacement, widened by Student's t"


def _noisy(noise: Array) -> Draw:
    def draw(solution: Solution, _rung: Counts, generator: np.random.Generator) -> Problem:
        """Return the problem with the law's values and noise; logarithms get the relative error."""
        problem = solution.problem
        values, drawn = problem.predict(solution.p), noise * generator.standard_normal(len(noise))
        moved = values + drawn if problem.loss == "mse" else values * np.exp(drawn / problem.values)
        return replace(_complete(problem), values=moved)

    return draw


def _draw_seeds(solution: Solution, rung: Counts, generator: np.random.Generator) -> Problem:
    """Return the problem with each size's seeds drawn again from its own, as far apart as runs are.

    Deviations from a mean of k seeds are too small by sqrt((k - 1) / k).
    """
    problem = solution.problem
    logs = problem.loss != "mse"
    values = np.log(problem.values) if logs else problem.values.copy()
    for size in range(int(rung.max()) + 1):
        rows = np.flatnonzero(rung == size)
        mean, count = values[rows].mean(), len(rows)
        wider = math.sqrt(count / (count - 1))
        values[rows] = mean + wider * (values[generator.choice(rows, count)] - mean)
    return replace(_complete(problem), values=np.exp(values) if logs else values)


def _draw_sizes(solution: Solution, rung: Counts, generator: np.random.Generator) -> Problem:
    """Return the problem of as many sizes drawn with replacement, each with all its seeds."""
    count = int(rung.max()) + 1
    rows = np.concatenate([np.flatnonzero(rung == size) for size in generator.integers(0, count, count)])
    problem = solution.problem
    return replace(
        _complete(problem),
        inputs=problem.inputs[rows],
        values=problem.values[rows],
        weights=problem.weights[rows],
    )


def _draw_residuals(solution: Solution, rung: Counts, generator: np.random.Generator) -> Problem:
    """Return the problem with the law's values moved, size by size, by residuals drawn from all sizes."""
    problem, measured = solution.problem, spread(solution)
    total = size_sums(rung, problem.weights)
    mean = size_sums(rung, problem.weights * problem.residuals(solution.p)) / total
    standard = mean * np.sqrt(total)
    # A law bends towards its points: residuals are too small by the first factor, and percentiles of so few
    # draws by the second.
    sizes = len(total)
    wider = math.sqrt(sizes / measured.freedom) * measured.quantile / float(norm.ppf((1 + CONFIDENCE) / 2))
    drawn = generator.choice(standard - standard.mean(), sizes) * wider / np.sqrt(total)
    shift = (mean - drawn)[rung]
    values = problem.values + shift if problem.loss == "mse" else problem.values * np.exp(shift)
    return replace(_complete(problem), values=values)


def _complete(problem: Problem) -> Problem:
    return replace(problem, present=(True,) * len(problem.present))
