"""Where the search for coefficients begins: the exponents of a grid, with all else by linear least squares.

Variable projection (Golub and Pereyra 1973): for each theta the linear coefficients are the solution of
(non-negative) least squares, so that only theta, one or two numbers, is searched.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.optimize import minimize, minimize_scalar, nnls

from pipeline.study.form import Array
from pipeline.study.problem import TINY, Problem


def starts(problem: Problem) -> Iterator[tuple[Problem, Array]]:
    """Yield the local minima of the profiled grid, for the law and for the law without what may vanish."""
    candidates = [problem, *(problem.without(name) for name in problem.form.vanishing)]
    for candidate in candidates:
        thetas = candidate.form.starts(candidate.inputs)
        if candidate.form.is_linear_under(candidate.loss):
            thetas = thetas[len(thetas) // 2 :][:1]  # one valley, reached from anywhere
        profiled = [_project(candidate, theta) for theta in thetas]
        losses = np.array([loss for loss, _ in profiled])
        for index in _local_minima(thetas, losses):
            theta = _polished(candidate, thetas, index)
            linear = _project(candidate, theta)[1]
            if candidate.form.positive:
                linear = _above_zero(candidate, linear, theta)
            yield candidate, candidate.join(linear, theta)


def _above_zero(problem: Problem, linear: Array, theta: Array) -> Array:
    """Return coefficients whose logarithms are numbers: what projection set to zero starts small instead."""
    largest = problem.form.basis(problem.inputs, theta).max(axis=0)
    return np.asarray(np.where(linear > 0, linear, 0.1 * problem.smallest / np.maximum(largest, TINY)))


def _polished(problem: Problem, thetas: Array, index: int) -> Array:
    """Return the best theta between a start's neighbours.

    At a start beside the optimum a coefficient may be best at zero, and the descent, which moves its
    logarithm, would not bring it back.
    """
    start = np.asarray(thetas[index])
    if thetas.shape[1] == 0 or len(thetas) == 1:
        return start
    lines = [np.unique(column) for column in thetas.T]
    places = [int(np.searchsorted(line, at)) for line, at in zip(lines, start, strict=True)]
    low = np.array([line[max(place - 1, 0)] for line, place in zip(lines, places, strict=True)])
    high = np.array([line[min(place + 1, len(line) - 1)] for line, place in zip(lines, places, strict=True)])
    if len(start) > 1:
        return _nelder_mead(problem, start, low, high)
    found = minimize_scalar(
        lambda theta: _project(problem, np.array([theta]))[0],
        bounds=(low[0], high[0]),
        method="bounded",
        options={"xatol": 1e-6 * (high[0] - low[0])},
    )
    return np.array([found.x])


def _nelder_mead(problem: Problem, start: Array, low: Array, high: Array) -> Array:
    """Return the theta (T,) of the least profiled loss near `start`, at first as far as its neighbours.

    The profiled loss has kinks where a coefficient becomes zero: this search needs no derivatives.
    """
    away = np.where(high - start > start - low, high - start, low - start)
    corner = np.zeros(len(start))
    search: Any = minimize  # its types do not know the options of this method
    found = search(
        lambda steps: _project(problem, start + steps * away)[0],
        corner,
        method="Nelder-Mead",
        options={
            "initial_simplex": np.vstack([corner, np.eye(len(start)) / 2]),
            "xatol": 1e-4,
            "fatol": math.inf,
            "maxfev": 200 * len(start),
        },
    )
    return np.asarray(start + found.x * away)


def _project(problem: Problem, theta: Array) -> tuple[float, Array]:
    """Return the loss and the best linear coefficients (L,) at a fixed theta.

    Under the losses of logarithms relative residuals stand in for logarithmic ones: near the optimum they
    agree.
    """
    root = np.sqrt(problem.weights)
    if problem.loss != "mse":
        root = root / problem.values
    present = list(problem.present)
    matrix = problem.form.basis(problem.inputs, theta)[:, present] * root[:, None]
    norms = np.maximum(np.linalg.norm(matrix, axis=0), TINY)
    target = root * problem.values
    if problem.form.positive:
        solved, residual = nnls(matrix / norms, target)
    else:
        solved = np.linalg.lstsq(matrix / norms, target, rcond=None)[0]
        residual = np.float64(np.linalg.norm(matrix / norms @ solved - target))
    linear = np.zeros(len(present))
    linear[present] = solved / norms
    return float(residual), linear


def _local_minima(thetas: Array, losses: Array) -> list[int]:
    """Return the starts that none of their nearest neighbours beats; theta is (S, T), losses (S,)."""
    if thetas.shape[1] == 0 or len(thetas) == 1:
        return [int(np.argmin(losses))]
    # Ranks: the grids are not even.
    places = np.column_stack([np.unique(column, return_inverse=True)[1] for column in thetas.T])
    distance = np.abs(places[:, None] - places[None]).sum(axis=2)
    nearest = np.argsort(distance, axis=1)[:, : 2 * thetas.shape[1] + 1]
    return [i for i in range(len(losses)) if losses[i] <= losses[nearest[i]].min()]
