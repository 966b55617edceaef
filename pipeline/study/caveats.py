"""What to beware of in a fit: too few points, a failed search, coefficients that cannot be told apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.study.form import Array
from pipeline.study.problem import Problem
from pipeline.study.solve import Solution
from pipeline.study.spread import Spread, sizes_of, spread
from pipeline.study.table import Points

SURE_FROM = 10  # points from which a law with a floor can be told from one without (found by simulation)
TWINS = 0.995  # correlation of two coefficients from which on they are one in all but name
ILL_CONDITIONED = 100.0  # a change of a hundredth in the values may then change some coefficients by all
NO_EXPONENT = 1e-3  # a power that small changes by less than one percent over four decades
FAR_BEYOND = 3.0  # so many times beyond the largest fitted size a prediction is an extrapolation


def caveats(solution: Solution, kept_out: Points) -> list[str]:
    """Return warnings as sentences, none where there is nothing to beware of."""
    problem, measured = solution.problem, spread(solution)
    warnings = [measured.note] if measured.note and measured.freedom else []
    if not solution.converged:
        warnings.append("the search did not converge: do not use these coefficients")
    return [
        *warnings,
        *_counts(problem, measured),
        *_exponents(solution),
        *_identified(solution, measured),
        *_shape(solution, measured),
        *_reach(problem, kept_out),
    ]


def condition(solution: Solution) -> float:
    """Return the condition number of the residuals' slopes, each of length one.

    Inputs are taken in units of their geometric mean first: in units of one, A and its exponent are nearly
    the same thing whatever the points are.
    """
    problem, form = solution.problem, solution.problem.form
    linear, theta = problem.split(solution.p)
    moved = problem
    if form.positive_inputs:
        middle = np.exp(np.log(problem.inputs).mean(axis=0, keepdims=True))
        moved = replace(problem, inputs=problem.inputs / middle)
        if form.positive:
            linear = linear * form.basis(middle, theta)[0]
    slopes = moved.predict_slopes(moved.join(linear, theta))
    if problem.loss != "mse":
        slopes = slopes / problem.predict(solution.p)[:, None]
    slopes = slopes * np.sqrt(problem.weights)[:, None]
    lengths = np.linalg.norm(slopes, axis=0)
    return float(np.linalg.cond(slopes / lengths)) if (lengths > 0).all() else float("inf")


def _counts(problem: Problem, measured: Spread) -> list[str]:
    warnings = []
    coefficients = len(problem.form.linear) + len(problem.form.curved)
    if measured.sizes < coefficients + 2:
        warnings.append(f"too few points: {measured.sizes} sizes for {coefficients} coefficients")
    for name, present in zip(problem.form.linear, problem.present, strict=True):
        if not present:
            warnings.append(
                f"{name} ended at zero, its boundary: the points show no {problem.form.name} offset"
            )
    if problem.form.vanishing and measured.sizes < SURE_FROM:
        warnings.append(
            f"{measured.sizes} sizes cannot say whether there is an offset: "
            f"below {SURE_FROM}, E and {problem.form.curved[0]} trade off"
        )
    return warnings


def _exponents(solution: Solution) -> list[str]:
    """Warn of exponents that a law of falling losses does not have."""
    form, found = solution.problem.form, solution.coefficients
    if not form.vanishing:
        return []
    return [
        f"{name} is {found[name]:.3g}: a term that does not fall is another offset"
        if abs(found[name]) < NO_EXPONENT
        else f"{name} is {found[name]:.3g}, below zero: a term grows with size"
        for name in form.curved
        if found[name] < NO_EXPONENT
    ]


def _identified(solution: Solution, measured: Spread) -> list[str]:
    """Warn of coefficients that the points cannot tell apart; A and its exponent are so by construction."""
    problem, covariance = solution.problem, measured.covariance
    names, form = problem.names, problem.form
    watched = [i for i, name in enumerate(names) if name in (*form.vanishing, *form.curved)]
    errors = np.sqrt(np.diag(covariance))
    warnings = [
        f"ill-conditioned: {names[i]} and {names[j]} are nearly the same thing here (correlation "
        f"{covariance[i, j] / errors[i] / errors[j]:+.4f})"
        for i in watched
        for j in watched
        if i < j and errors[i] * errors[j] > 0 and abs(covariance[i, j]) > TWINS * errors[i] * errors[j]
    ]
    if len(form.inputs) > 1:
        together = float(np.corrcoef(np.log(problem.inputs[:, :2].T))[0, 1])
        if abs(together) > TWINS:
            warnings.append(
                f"{form.inputs[0]} and {form.inputs[1]} move together (correlation {together:+.4f} of "
                "logarithms): what each does rests on the law alone; vary them apart"
            )
    number = condition(solution)
    if number > ILL_CONDITIONED:
        warnings.append(
            f"ill-conditioned: condition number {number:.3g}; other coefficients fit about as well"
        )
    return warnings


def _shape(solution: Solution, measured: Spread) -> list[str]:
    """Warn where a law of one abscissa is contradicted by the order of the points, or shows no trend."""
    problem, p = solution.problem, solution.p
    warnings = []
    if len(problem.form.inputs) == 1 and len(problem.values):
        steps, against = _against(problem, problem.predict(p))
        if against:
            warnings.append(f"non-monotone: {against} of {steps} steps go against the trend")
    if problem.form.is_linear_under(problem.loss) and measured.freedom:
        half = measured.quantile * float(np.sqrt(measured.covariance[-1, -1]))
        if abs(p[-1]) <= half:
            warnings.append(
                f"no trend: the interval of {problem.names[-1]} holds zero; the points may be at chance"
            )
    return warnings


def _against(problem: Problem, predicted: Array) -> tuple[int, int]:
    """Return how many steps there are from size to size, and how many means go against the law's."""
    size = sizes_of(problem.inputs)
    counts = np.bincount(size)
    means = np.bincount(size, weights=problem.values) / counts
    trend = np.diff(np.bincount(size, weights=predicted) / counts)
    return len(trend), int(np.sum(np.diff(means) * trend < 0))


def _reach(problem: Problem, kept_out: Points) -> list[str]:
    if not problem.form.positive_inputs:
        return []
    warnings = []
    for column, name in enumerate(problem.form.inputs):
        fitted = problem.inputs[:, column]
        if fitted.max() < 10 * fitted.min():
            warnings.append(
                f"{name} spans {np.log10(fitted.max() / fitted.min()):.2f} decades; a law needs at least one"
            )
        beyond = kept_out.inputs[:, column].max(initial=0) / fitted.max()
        if beyond > FAR_BEYOND:
            warnings.append(
                f"extrapolation: a held-out {name} lies {beyond:.1f} times beyond the largest fitted one"
            )
    return warnings
