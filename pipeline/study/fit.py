"""Fits one law to one table of points: `loglinear fit`, and the fits of a study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ConfigError
from pipeline.formats import publish
from pipeline.study import form as forms
from pipeline.study.caveats import caveats
from pipeline.study.form import Array, Form, Loss, Mask
from pipeline.study.intervals import Bounds, intervals
from pipeline.study.problem import Problem
from pipeline.study.solve import Solution, solve
from pipeline.study.spread import sizes_of
from pipeline.study.table import Columns, Points, Table


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """A point that took no part in the fit, and what the fit says of it."""

    name: str
    predicted: float
    observed: float

    def __str__(self) -> str:
        error = f" ({self.relative_error:+.2%})" if self.relative_error is not None else ""
        return f"held out {self.name}: predicted {self.predicted:.5g}, observed {self.observed:.5g}{error}"

    @property
    def relative_error(self) -> float | None:
        """(predicted - observed) / observed; None where the observed value is zero."""
        return (self.predicted - self.observed) / self.observed if self.observed else None


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A law with its coefficients, how sure they are, and what to beware of."""

    solution: Solution
    bounds: Bounds
    interval_method: str
    held_out: tuple[HeldOut, ...]
    warnings: tuple[str, ...]

    @property
    def form(self) -> Form:
        """The law."""
        return self.solution.problem.form

    @property
    def rss(self) -> float:
        """Sum of squared residuals of the raw values, whatever the loss."""
        problem = self.solution.problem
        return float(np.sum((problem.predict(self.solution.p) - problem.values) ** 2))

    def __str__(self) -> str:
        problem = self.solution.problem
        lines = [f"{self.form.name}: {self.form.formula}, {len(problem.values)} points, loss {problem.loss}"]
        for name, value in self.solution.coefficients.items():
            low, high = (f"{end:.5g}" if end is not None else "?" for end in self.bounds[name])
            lines.append(f"  {name:<8} {value:<12.6g} 95 % interval {low} to {high}")
        if self.solution.exponents:
            lines.append(f"  compute-optimal: {self._growth('params', 'a')}, {self._growth('tokens', 'b')}")
        lines.append(f"  intervals by {self.interval_method}")
        lines += [f"  {point}" for point in self.held_out]
        return "\n".join([*lines, *(f"  warning: {warning}" for warning in self.warnings)])

    def as_json(self) -> dict[str, Any]:
        """Return the content of FIT.json; an end of an interval that is unbounded or unknown is null."""
        coefficients = self.solution.coefficients
        return {
            "form": self.form.name,
            "loss": self.solution.problem.loss,
            "coefficients": coefficients,
            "objective": self.solution.objective,
            "rss": self.rss,
            "n": len(self.solution.problem.values),
            "intervals": {name: list(ends) for name, ends in self.bounds.items()},
            "interval_method": self.interval_method,
            "exponents": self.solution.exponents,
            "held_out": [
                {
                    "name": point.name,
                    "predicted": point.predicted,
                    "observed": point.observed,
                    "relative_error": point.relative_error,
                }
                for point in self.held_out
            ],
            "converged": self.solution.converged,
            "warnings": list(self.warnings),
        }

    def _growth(self, what: str, exponent: str) -> str:
        said = f"{what} ~ flops^{self.solution.exponents[exponent]:.4g}"
        own = exponent not in self.solution.coefficients  # overtraining has other coefficients of these names
        low, high = self.bounds.get(exponent, (None, None)) if own else (None, None)
        return said if low is None or high is None else f"{said} (95 % interval {low:.4g} to {high:.4g})"


@dataclass(frozen=True, kw_only=True)
class FitRequest:
    """What `loglinear fit` was asked; the defaults are those of the command line."""

    table: Path
    form: str
    value: str
    x: str | None = None
    params: str = "params"
    tokens: str = "tokens"
    flops: str = "flops"
    weights: str | None = None
    where: str | None = None
    drop_highest: int = 0
    loss: str | None = None
    bootstrap: int = 0
    hold_out: str | None = None
    seed: int = 0

    @property
    def columns(self) -> Columns:
        """Which columns play which part."""
        return Columns(
            value=self.value,
            x=self.x,
            params=self.params,
            tokens=self.tokens,
            flops=self.flops,
            weights=self.weights,
        )

    def check(self) -> None:
        """Raise ConfigError for each option outside its range."""
        problems = [
            f"--{option} {value}: must be zero or more"
            for option, value in (
                ("drop-highest", self.drop_highest),
                ("bootstrap", self.bootstrap),
                ("seed", self.seed),
            )
            if value < 0
        ]
        if self.loss is not None and self.loss not in forms.LOSSES:
            problems.append(f"--loss {self.loss}: no such loss; there are {', '.join(forms.LOSSES)}")
        if self.form not in forms.available():
            problems.append(f"--form {self.form}: no such form; there are {', '.join(forms.available())}")
        if problems:
            raise ConfigError(problems)


def run_fit(request: FitRequest, out: Path) -> Fit:
    """Fit a CSV of points, write `out` and return the fit; ConfigError names whatever cannot be fitted."""
    request.check()
    form = forms.load(request.form)
    loss = _loss(form, request.loss)
    with Table(request.table, request.columns) as opened:
        if request.drop_highest:
            opened.drop_highest(request.drop_highest)
        if request.where:
            opened.keep(request.where)
        points = opened.points(
            form.inputs, positive_inputs=form.positive_inputs, positive_values=form.positive or loss != "mse"
        )
        held = np.zeros(len(points.values), dtype=bool)
        if request.hold_out:
            held = opened.held_out(request.hold_out, points)
    _require_enough(request.table, form, points.take(~held))
    fit = fit_points(form, points, held=held, loss=loss, draws=request.bootstrap, seed=request.seed)
    publish.write_json(out, fit.as_json())
    return fit


def fit_points(
    form: Form,
    points: Points,
    *,
    held: Mask | None = None,
    loss: Loss | None = None,
    draws: int = 0,
    seed: int = 0,
    noise: Array | None = None,
) -> Fit:
    """Fit the points that are not `held` (n,) out; there must be at least as many sizes as coefficients.

    Standard errors `noise` (n,) of the values, where they are known, make the intervals.
    """
    held = np.zeros(len(points.values), dtype=bool) if held is None else held
    fitted, kept_out = points.take(~held), points.take(held)
    solution = solve(Problem.of(form, loss or form.loss, fitted.inputs, fitted.values, fitted.weights))
    errors = None if noise is None else noise[~held]
    measured = intervals(solution, draws=draws, seed=seed, noise=errors)
    predicted = solution.predict(kept_out.inputs)
    return Fit(
        solution=solution,
        bounds=measured.bounds,
        interval_method=measured.method,
        held_out=tuple(
            HeldOut(name=name, predicted=float(p), observed=float(o))
            for name, p, o in zip(kept_out.names, predicted, kept_out.values, strict=True)
        ),
        warnings=(*points.warnings, *measured.warnings, *caveats(solution, kept_out)),
    )


def _loss(form: Form, asked: str | None) -> Loss:
    return next((loss for loss in forms.LOSSES if loss == asked), form.loss)


def _require_enough(table: Path, form: Form, points: Points) -> None:
    needed = len(form.linear) + len(form.curved)
    sizes = int(sizes_of(points.inputs).max()) + 1 if len(points.values) else 0
    names = ", ".join((*form.linear, *form.curved))
    problems = []
    if sizes < needed:
        problems.append(
            f"{table}: {len(points.values)} points at {sizes} different sizes cannot give the {needed} "
            f"coefficients ({names}) of {form.name}; "
            f"fit at least {needed} sizes, or a form with fewer coefficients"
        )
    for column, name in enumerate(form.inputs):
        if sizes and len(form.inputs) > 1 and np.ptp(points.inputs[:, column]) == 0:
            problems.append(
                f"{table}: {name} is {points.inputs[0, column]:g} at every point, so {form.name} cannot say "
                f"what it does; vary it, or fit a form of one abscissa with --x"
            )
    if problems:
        raise ConfigError(problems)
