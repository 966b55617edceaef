"""Finds the coefficients of a law: profiled starts, a smooth descent from the best, and a proof of arrival.

Variable projection (Golub and Pereyra 1973) makes the starts: for each theta of a grid the linear
coefficients are the solution of (non-negative) least squares. The descent then moves all coefficients
together, positive ones as logarithms, with analytic gradients. A fit counts as converged only when the loss
that one further step could still win is negligible: an early stop once gave a published law wrong exponents.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize_scalar, nnls

from pipeline.study.form import FAR, Array, Form, Loss

DELTA = (
    1e-3  # where Huber's loss turns from square to straight, in log units (Hoffmann et al. 2022, section 3.3)
)
MOST_STEPS = 500
TINY = 1e-300
PROMISE = 1e-12  # the descent ends when a step promises to win less than this share of the loss
REMAINDER = 1e-8  # the share of the loss that one more Newton step may still win in a converged fit


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One law, one loss and the points; `present` says which linear coefficients are not held at zero.

    The search coordinates p (P,) are the present linear coefficients (as logarithms where they are positive)
    followed by theta.
    """

    form: Form
    loss: Loss
    inputs: Array  # (n, k)
    values: Array  # (n,)
    weights: Array  # (n,), mean one
    present: tuple[bool, ...]

    @staticmethod
    def of(form: Form, loss: Loss, inputs: Array, values: Array, weights: Array | None = None) -> Problem:
        """Return the problem with every coefficient present and the weights brought to a mean of one."""
        weights = np.ones(len(values)) if weights is None else weights / weights.mean()
        present = (True,) * len(form.linear)
        return Problem(form=form, loss=loss, inputs=inputs, values=values, weights=weights, present=present)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the search coordinates."""
        return tuple(n for n, on in zip(self.form.linear, self.present, strict=True) if on) + self.form.curved

    def without(self, name: str) -> Problem:
        """Return the problem with the linear coefficient `name` held at zero."""
        return replace(
            self,
            present=tuple(on and n != name for n, on in zip(self.form.linear, self.present, strict=True)),
        )

    def split(self, p: Array) -> tuple[Array, Array]:
        """Return the linear coefficients (L,), zeros included, and theta (T,) at p."""
        count = sum(self.present)
        linear = np.zeros(len(self.present))
        # The clip keeps a search that strays within floating point; no law of real points comes near it.
        linear[list(self.present)] = (
            np.exp(np.clip(p[:count], -FAR, FAR)) if self.form.positive else p[:count]
        )
        return linear, p[count:]

    def join(self, linear: Array, theta: Array) -> Array:
        """Return p for these coefficients."""
        kept = linear[list(self.present)]
        return np.concatenate([np.log(kept) if self.form.positive else kept, theta])

    def predict(self, p: Array, inputs: Array | None = None) -> Array:
        """Return the law's values (m,) at `inputs` (m, k), by default at the points."""
        linear, theta = self.split(p)
        return np.asarray(self.form.basis(self.inputs if inputs is None else inputs, theta) @ linear)

    def predict_slopes(self, p: Array, inputs: Array | None = None) -> Array:
        """Return the derivatives (m, P) of the law's values by the search coordinates."""
        inputs = self.inputs if inputs is None else inputs
        linear, theta = self.split(p)
        basis = self.form.basis(inputs, theta)[:, list(self.present)]
        by_linear = basis * linear[list(self.present)] if self.form.positive else basis
        by_theta = self.form.basis_slopes(inputs, theta) @ linear  # (T, m)
        return np.concatenate([by_linear, by_theta.T], axis=1)

    def residuals(self, p: Array) -> Array:
        """Return law minus value (n,), of logarithms where the loss is of logarithms."""
        predicted = self.predict(p)
        if self.loss == "mse":
            return predicted - self.values
        return np.log(np.maximum(predicted, TINY)) - np.log(self.values)

    def residual_slopes(self, p: Array) -> Array:
        """Return the derivatives (n, P) of the residuals."""
        slopes = self.predict_slopes(p)
        return slopes if self.loss == "mse" else slopes / np.maximum(self.predict(p), TINY)[:, None]

    def objective(self, p: Array) -> float:
        """Return the loss: the weighted mean of squares, or Huber's loss summed over the points."""
        r = self.residuals(p)
        if self.loss != "huber-log":
            return float(self.weights @ r**2) / len(r)
        size = np.abs(r)
        return float(self.weights @ np.where(size <= DELTA, r**2 / 2, DELTA * (size - DELTA / 2)))

    def curvature(self, p: Array) -> tuple[Array, Array, Array]:
        """Return the gradient (P,), the Gauss-Newton matrix (P, P) and one that bounds it from above (P, P).

        The two matrices differ under Huber's loss alone: its straight part has no curvature, but a parabola
        with the slope of the loss lies above it (Huber 1981, section 7.8).
        """
        r, slopes = self.residuals(p), self.residual_slopes(p)
        if self.loss != "huber-log":
            weights = self.weights * 2 / len(r)
            matrix = slopes.T @ (weights[:, None] * slopes)
            return slopes.T @ (weights * r), matrix, matrix
        bounding = self.weights * np.minimum(1.0, DELTA / np.maximum(np.abs(r), TINY))
        curved = np.where(np.abs(r) <= DELTA, self.weights, 0.0)
        gradient = slopes.T @ (bounding * r)
        return gradient, slopes.T @ (curved[:, None] * slopes), slopes.T @ (bounding[:, None] * slopes)

    def remainder(self, p: Array) -> float:
        """Return the share of the loss that one more Newton step promises to win."""
        gradient, _, matrix = self.curvature(p)
        scale = np.sqrt(np.maximum(np.diag(matrix), TINY))
        step = np.linalg.lstsq(matrix / np.outer(scale, scale), gradient / scale, rcond=1e-14)[0]
        return float(gradient / scale @ step) / 2 / max(self.objective(p), self.floor)

    def has_vanished(self, p: Array) -> bool:
        """Whether a coefficient that may be zero is as good as zero: its logarithm would creep on."""
        linear = dict(zip(self.form.linear, self.split(p)[0], strict=True))
        return any(0 < linear[name] < 1e-5 * float(np.min(self.values)) for name in self.form.vanishing)

    @property
    def floor(self) -> float:
        """The loss below which points count as lying exactly on the law: rounding leaves that much."""
        return 1e-20 * float(np.mean(self.values**2)) if self.loss == "mse" else 1e-20


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

    def predict(self, inputs: Array) -> Array:
        """Return the law's values (m,) at `inputs` (m, k)."""
        return self.problem.predict(self.p, inputs)


def solve(problem: Problem, near: Solution | None = None) -> Solution:
    """Return the best solution from all starts, or quickly from a neighbouring problem's solution `near`."""
    if near is None:
        found = [descend(candidate, p) for candidate, p in _starts(problem)]
    else:
        found = _descend_near(problem, near)
    best = min(found, key=lambda s: s.objective)
    # A coefficient on its way to zero only approaches the law without it: prefer the one that has arrived.
    close = [s for s in found if s.objective <= best.objective * (1 + 1e-7) + TINY]
    return min(close, key=lambda s: (sum(s.problem.present), s.objective))


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
    proved = fixed is None and problem.remainder(p) < REMAINDER
    return Solution(problem=problem, p=p, objective=loss, converged=proved)


def _starts(problem: Problem) -> Iterator[tuple[Problem, Array]]:
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
                # What projection set to zero starts small instead; its logarithm must be a number.
                linear = np.maximum(linear, 0.1 * np.min(candidate.values))
            yield candidate, candidate.join(linear, theta)


def _polished(problem: Problem, thetas: Array, index: int) -> Array:
    """Return the best theta between a start's neighbours, where theta is one number.

    At a start beside the optimum a coefficient may be best at zero, and the descent, which moves its
    logarithm, would not bring it back.
    """
    if thetas.shape[1] != 1 or len(thetas) == 1:
        return np.asarray(thetas[index])
    line = np.sort(thetas[:, 0])
    place = int(np.searchsorted(line, thetas[index, 0]))
    bounds = line[max(place - 1, 0)], line[min(place + 1, len(line) - 1)]
    found = minimize_scalar(
        lambda theta: _project(problem, np.array([theta]))[0],
        bounds=bounds,
        method="bounded",
        options={"xatol": 1e-6 * (bounds[1] - bounds[0])},
    )
    return np.array([found.x])


def _descend_near(problem: Problem, near: Solution) -> list[Solution]:
    """Return the minima reached from a neighbour's coefficients, with and without what may vanish."""
    linear, theta = near.problem.split(near.p)
    smallest = float(np.min(problem.values))
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
    norms = np.linalg.norm(matrix, axis=0)
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
    places = np.argsort(np.argsort(thetas, axis=0), axis=0).astype(float)  # ranks: the grids are not even
    distance = np.abs(places[:, None] - places[None]).sum(axis=2)
    nearest = np.argsort(distance, axis=1)[:, : 2 * thetas.shape[1] + 1]
    return [i for i in range(len(losses)) if losses[i] <= losses[nearest[i]].min()]
