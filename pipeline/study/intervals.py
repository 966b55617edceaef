"""How sure a fit is: Student's t where it is exact, profiles for curved laws, the bootstrap on request."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq

from pipeline.study.form import Array
from pipeline.study.problem import Problem
from pipeline.study.resample import resample
from pipeline.study.solve import Solution, descend
from pipeline.study.spread import CONFIDENCE, spread

DEFAULT_DRAWS = 200  # bootstrap draws where no other method applies

Bounds = dict[str, tuple[float | None, float | None]]


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """The interval of each coefficient (None: unbounded on that side, or unknown) and how it was made."""

    bounds: Bounds
    method: str
    warnings: tuple[str, ...] = ()


def intervals(solution: Solution, *, draws: int, seed: int, noise: Array | None = None) -> Intervals:
    """Return 95 % intervals: a bootstrap of `draws`, or at 0 the best method for this law and loss.

    With `noise` (n,), the standard error of each value, the bootstrap is a parametric one.
    """
    problem = solution.problem
    freedom = spread(solution).freedom
    if freedom < 1:
        unknown: Bounds = dict.fromkeys(solution.coefficients, (None, None))
        return Intervals(bounds=unknown, method="none: no degrees of freedom are left")
    if draws or noise is not None or problem.loss == "huber-log":
        return _bootstrap_intervals(solution, draws or DEFAULT_DRAWS, seed, noise)
    if problem.form.is_linear_under(problem.loss):
        return Intervals(bounds=_student(solution), method=f"Student's t, {_freedom(freedom)}")
    if solution.objective <= problem.floor:
        exact = {name: (value, value) for name, value in (solution.exponents | solution.coefficients).items()}
        return Intervals(bounds={**exact}, method="none needed: the points lie on the law")
    found = _profiles(solution)
    exponents = _exponents(solution)
    method = found.method + (", a and b linearised" if exponents else "")
    return replace(found, bounds=found.bounds | exponents, method=method)


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


def _exponents(solution: Solution) -> Bounds:
    """Return bounds of the compute-optimal exponents, linearised at the solution."""
    measured = spread(solution)
    bounds: Bounds = {}
    for name, value in solution.exponents.items():
        if name in solution.coefficients:
            continue
        slopes = np.zeros(len(solution.p))
        for i in range(len(slopes)):
            step = np.zeros(len(slopes))
            step[i] = 1e-6
            ends = [replace(solution, p=solution.p + sign * step).exponents[name] for sign in (-1, 1)]
            slopes[i] = (ends[1] - ends[0]) / 2e-6
        half = measured.quantile * math.sqrt(slopes @ measured.covariance @ slopes)
        bounds[name] = (value - half, value + half)
    return bounds


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


def _bootstrap_intervals(solution: Solution, draws: int, seed: int, noise: Array | None) -> Intervals:
    found, method = resample(solution, draws, seed, noise)
    tail = (1 - CONFIDENCE) / 2
    bounds: Bounds = {}
    for name in solution.exponents | solution.coefficients:  # a name of both is the coefficient's
        drawn = [(s.exponents | s.coefficients)[name] for s in found]
        low, high = np.quantile(drawn, [tail, 1 - tail])
        bounds[name] = (float(low), float(high))
    warnings = []
    stuck = sum(not s.converged for s in found)
    if stuck > 0.05 * draws:
        warnings.append(f"{stuck} of {draws} bootstrap fits did not converge; the intervals are rough")
    if draws < 200:
        warnings.append(f"{draws} bootstrap draws place the ends of a 95 % interval only roughly; use 1000")
    return Intervals(bounds=bounds, method=method, warnings=tuple(warnings))


def _freedom(count: int) -> str:
    return f"{count} degree{'s' if count != 1 else ''} of freedom"
