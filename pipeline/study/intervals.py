"""How sure a fit is: Student's t where it is exact, profiles for curved laws, the bootstrap on request.

Points that share their inputs are seeds of one size. Sizes scatter about a law for more reasons than seeds
do, so the residual variance is taken between sizes: with one point per size this is the textbook formula, and
with several it stays valid when a whole size lies off the law.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm, t

from pipeline.study.form import Array, Counts
from pipeline.study.solve import Problem, Solution, descend, solve

CONFIDENCE = 0.95
FEWEST_FOR_PAIRS = 10  # below this many sizes, resampling them often leaves fewer sizes than coefficients
DEFAULT_DRAWS = 200  # bootstrap draws where no other method applies

Bounds = dict[str, tuple[float | None, float | None]]


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


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """The interval of each coefficient (None: unbounded on that side, or unknown) and how it was made."""

    bounds: Bounds
    method: str
    warnings: tuple[str, ...] = ()


def intervals(solution: Solution, *, draws: int, seed: int) -> Intervals:
    """Return 95 % intervals: a bootstrap of `draws`, or at 0 the best method for this law and loss."""
    problem = solution.problem
    freedom = spread(solution).freedom
    if freedom < 1:
        unknown: Bounds = dict.fromkeys(solution.coefficients, (None, None))
        return Intervals(bounds=unknown, method="none: no degrees of freedom are left")
    if draws or problem.loss == "huber-log":
        return _bootstrap_intervals(solution, draws or DEFAULT_DRAWS, seed)
    if problem.form.is_linear_under(problem.loss):
        return Intervals(bounds=_student(solution), method=f"Student's t, {_freedom(freedom)}")
    return _profiles(solution)


def band(solution: Solution, inputs: Array, *, new_point: bool) -> tuple[Array, Array] | None:
    """Return the interval (m,), (m,) of the law at `inputs` (m, k), or of one new point's value there.

    Student's t with the law linearised at the solution, on logarithms where the loss is of logarithms. None
    where no degree of freedom is left.
    """
    measured = spread(solution)
    if measured.freedom < 1:
        return None
    problem, p = solution.problem, solution.p
    centre, slopes = problem.predict(p, inputs), problem.predict_slopes(p, inputs)
    logs = problem.loss != "mse"
    if logs:
        slopes = slopes / centre[:, None]
    variance = np.einsum("mp,pq,mq->m", slopes, measured.covariance, slopes)
    half = measured.quantile * np.sqrt(variance + (measured.variance if new_point else 0.0))
    return (centre * np.exp(-half), centre * np.exp(half)) if logs else (centre - half, centre + half)


def spread(solution: Solution) -> Spread:
    """Return variance and covariance of a solution (both meaningless when `freedom` is 0)."""
    problem, p = solution.problem, solution.p
    rung = sizes_of(problem.inputs)
    sizes, coefficients = int(rung.max()) + 1, len(p)
    r, weights, note = problem.residuals(p), problem.weights, ""
    if sizes > coefficients:
        freedom = sizes - coefficients
        variance = float(np.sum(_size_sums(rung, weights * r) ** 2 / _size_sums(rung, weights))) / freedom
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


def resample(solution: Solution, draws: int, seed: int) -> tuple[list[Solution], str]:
    """Return solutions of `draws` resampled problems and the name of the way they were made."""
    rung = sizes_of(solution.problem.inputs)
    generator = np.random.default_rng(seed)
    if rung.max() + 1 >= FEWEST_FOR_PAIRS:
        draw, name = _draw_sizes, "sizes drawn with replacement"
    else:
        draw, name = _draw_residuals, "residuals of the sizes drawn with replacement, widened by Student's t"
    found = [solve(draw(solution, rung, generator), near=solution) for _ in range(draws)]
    return found, f"percentile bootstrap, {draws} draws, {name}"


def _student(solution: Solution) -> Bounds:
    measured = spread(solution)
    half = measured.quantile * np.sqrt(np.diag(measured.covariance))
    low, high = solution.p - half, solution.p + half
    return {
        name: _value_bounds(solution.problem, name, float(low[i]), float(high[i]))
        for i, name in enumerate(solution.problem.names)
    }


def _value_bounds(problem: Problem, name: str, low: float, high: float) -> tuple[float | None, float | None]:
    """Turn bounds of a search coordinate into bounds of its coefficient; infinite ones into None or zero."""
    if problem.form.positive and name in problem.form.linear:
        low, high = math.exp(low) if low < 700 else math.inf, math.exp(high) if high < 700 else math.inf
    return (low if math.isfinite(low) else None, high if math.isfinite(high) else None)


def _profiles(solution: Solution) -> Intervals:
    """Return how far each coefficient can be moved before the best fit of the others is implausible."""
    measured = spread(solution)
    problem = solution.problem
    limit = (
        float(problem.weights @ problem.residuals(solution.p) ** 2) + measured.quantile**2 * measured.variance
    )
    errors = np.sqrt(np.diag(measured.covariance))
    bounds: Bounds = dict.fromkeys(solution.coefficients, (0.0, None))
    for i, name in enumerate(problem.names):
        low = _profile_end(solution, i, -float(errors[i]), limit)
        high = _profile_end(solution, i, float(errors[i]), limit)
        bounds[name] = _value_bounds(problem, name, low, high)
    open_ended = [name for name, ends in bounds.items() if None in ends]
    warnings = (f"the points do not bound {', '.join(open_ended)} on both sides",) if open_ended else ()
    return Intervals(
        bounds=bounds, method=f"profile, F test with {_freedom(measured.freedom)}", warnings=warnings
    )


def _profile_end(solution: Solution, index: int, step: float, limit: float) -> float:
    """Return where the profile of coordinate `index` crosses `limit` towards `step`, or infinity."""
    excess = _profile(solution, index, limit)
    inside = float(solution.p[index])
    if not math.isfinite(step) or step == 0:
        return math.copysign(math.inf, step)
    for doubling in range(12):
        outside = float(solution.p[index]) + step * 2**doubling
        if excess(outside) > 0:
            return float(brentq(excess, inside, outside, rtol=1e-6))
        inside = outside
    return math.copysign(math.inf, step)


def _profile(solution: Solution, index: int, limit: float) -> Callable[[float], float]:
    """Return the function of a coordinate's value that tells how far the best fit with it exceeds `limit`."""
    problem, count = solution.problem, len(solution.problem.values)
    best: dict[float, tuple[float, Array]] = {float(solution.p[index]): (solution.objective, solution.p)}

    def excess(value: float) -> float:
        if value not in best:
            # The neighbour's coefficients are the best start: the profile changes smoothly along the way.
            start = best[min(best, key=lambda known: abs(known - value))][1].copy()
            start[index] = value
            found = descend(problem, start, fixed=index)
            best[value] = (found.objective, found.p)
        return best[value][0] * count - limit

    return excess


def _bootstrap_intervals(solution: Solution, draws: int, seed: int) -> Intervals:
    found, method = resample(solution, draws, seed)
    tail = (1 - CONFIDENCE) / 2
    bounds: Bounds = {}
    for name in solution.coefficients:
        drawn = [s.coefficients[name] for s in found]
        low, high = np.quantile(drawn, [tail, 1 - tail])
        bounds[name] = (float(low), float(high))
    warnings = []
    stuck = sum(not s.converged for s in found)
    if stuck > 0.05 * draws:
        warnings.append(f"{stuck} of {draws} bootstrap fits did not converge; the intervals are rough")
    if draws < 200:
        warnings.append(f"{draws} bootstrap draws place the ends of a 95 % interval only roughly; use 1000")
    return Intervals(bounds=bounds, method=method, warnings=tuple(warnings))


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
    total = _size_sums(rung, problem.weights)
    mean = _size_sums(rung, problem.weights * problem.residuals(solution.p)) / total
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


def _size_sums(rung: Counts, what: Array) -> Array:
    return np.asarray(np.bincount(rung, weights=what), dtype=np.float64)


def _freedom(count: int) -> str:
    return f"{count} degree{'s' if count != 1 else ''} of freedom"
