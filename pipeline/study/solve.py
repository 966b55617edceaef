"""Finds the coefficients of a law: profiled starts, a smooth descent from the best, and a proof of arrival.

The descent moves all coefficients together, positive ones as logarithms, with analytic gradients. A fit
counts as converged only when the loss that one further step could still win is negligible: an early stop once
gave a published law wrong exponents.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.study.form import Array
from pipeline.study.problem import TINY, Problem
from pipeline.study.starts import starts

MOST_STEPS = 500
PROMISE = 1e-12  # the descent ends when a step promises to win less than this share of the loss
REMAINDER = 1e-8  # the share of the loss that one more Newton step may still win in a converged fit


@dataclass(frozen=True, kw_only=True)
class Solution:
    """The best coefficients found, the problem they solve, and whether they are proved to do so."""

    problem: Problem
    p: Array
    objective: float
    converged: bool

    @property
    def coefficients(self) -> dict[str, float]:
        """Name and value of every coefficient, absent ones as zero, in the law's order."""
        linear, theta = self.problem.split(self.p)
        form = self.problem.form
        return dict(zip((*form.linear, *form.curved), map(float, [*linear, *theta]), strict=True))

    @property
    def exponents(self) -> dict[str, float]:
        """The compute-optimal exponents a and b, where the law has them."""
        return self.problem.form.exponents(self.coefficients)

    def predict(self, inputs: Array) -> Array:
        """Return the law's values (m,) at `inputs` (m, k)."""
        return self.problem.predict(self.p, inputs)


def solve(problem: Problem, near: Solution | None = None) -> Solution:
    """Return the best solution from all starts, or quickly from a neighbouring problem's solution `near`."""
    if near is not None and problem.form.is_linear_under(problem.loss):
        return _step(problem, near.p)
    if near is None:
        found = [descend(candidate, p) for candidate, p in starts(problem)]
    else:
        found = _descend_near(problem, near)
    best = min(found, key=lambda s: s.objective)
    # A coefficient on its way to zero only approaches the law without it: prefer the one that has arrived.
    close = [s for s in found if s.objective <= best.objective * (1 + 1e-7) + TINY]
    chosen = min(close, key=lambda s: (sum(s.problem.present), s.objective))
    told = problem.form.told(*chosen.problem.split(chosen.p))
    return replace(chosen, p=chosen.problem.join(*told))


def descend(problem: Problem, p: Array, fixed: int | None = None) -> Solution:
    """Return the local minimum reached from p by Levenberg-Marquardt, with the proof of convergence.

    With the coordinate `fixed` held where it is, the proof is of nothing and `converged` is False.
    """
    loss, damping = problem.objective(p), 1e-3
    free = np.arange(len(p)) != fixed
    gradient, matrix, bound = problem.curvature(p)
    for _ in range(MOST_STEPS):
        scale = np.sqrt(np.maximum(np.diag(bound)[free], TINY))
        damped = matrix[np.ix_(free, free)] / np.outer(scale, scale) + damping * np.eye(len(scale))
        step = np.linalg.solve(damped, gradient[free] / scale)
        promised = float(step @ (gradient[free] / scale)) / 2
        if promised <= PROMISE * max(loss, problem.floor) or damping > 1e9 or problem.has_vanished(p):
            break
        there = p.copy()
        there[free] -= step / scale
        new_loss = problem.objective(there)
        if new_loss < loss:
            p, loss = there, new_loss
            gradient, matrix, bound = problem.curvature(p)
            damping = max(damping / 10, 1e-9)
        else:
            damping *= 8
    return Solution(problem=problem, p=p, objective=loss, converged=fixed is None and has_arrived(problem, p))


def has_arrived(problem: Problem, p: Array) -> bool:
    """Whether p is a minimum, wherever it came from: one more Newton step would win next to nothing."""
    return problem.remainder(p) < REMAINDER


def _step(problem: Problem, p: Array) -> Solution:
    """Return the minimum of a problem whose residuals are linear in p: one step from anywhere is there."""
    root = np.sqrt(problem.weights)
    slopes = root[:, None] * problem.residual_slopes(p)
    there = p - np.linalg.lstsq(slopes, root * problem.residuals(p), rcond=None)[0]
    return Solution(problem=problem, p=there, objective=problem.objective(there), converged=True)


def _descend_near(problem: Problem, near: Solution) -> list[Solution]:
    """Return the minima reached from a neighbour's coefficients, with and without what may vanish."""
    linear, theta = near.problem.split(near.p)
    smallest = problem.smallest
    begin = np.where(linear == 0, 0.1 * smallest, linear) if problem.form.positive else linear
    found = []
    for name in problem.form.vanishing:
        rest = problem.without(name)
        found.append(descend(rest, rest.join(linear, theta)))
        hint, bent = rest.split(found[-1].p)
        hint[problem.form.linear.index(name)] = 1e-6 * smallest
        slope = problem.curvature(problem.join(hint, bent))[0][problem.names.index(name)]
        if slope >= 0:
            # Adding a little of it makes the loss larger: zero is its place, and the longer search is spared.
            return found
    return [*found, descend(problem, problem.join(begin, theta))]
