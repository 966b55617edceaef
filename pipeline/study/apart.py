"""Whether points can tell one law from another: how often the worse one, were it true, would look so bad.

Cox's test of separate families by simulation (Williams 1970): R² alone prefers one of two laws on any data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.study.form import Form
from pipeline.study.problem import Problem
from pipeline.study.solve import Solution, solve
from pipeline.study.spread import spread
from pipeline.study.table import Points

DRAWS = 200
DOUBT = 0.05


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The better law and the share of simulations of the other that look as good for it."""

    better: str
    other: str
    doubt: float
    told: bool

    def __str__(self) -> str:
        part = "fewer than 1 %" if self.doubt < 0.01 else f"{self.doubt:.0%}"
        share = f"if {self.other} were true, {part} of such studies would favour {self.better} as much"
        return f"{self.better} rather than {self.other}: {share}" if self.told else f"cannot tell: {share}"


def tell_apart(first: Form, second: Form, points: Points, *, seed: int = 0) -> Verdict:
    """Return which of two laws the points speak for, and whether they can tell; both fitted by squares."""
    solutions = [
        solve(Problem.of(form, "mse", points.inputs, points.values, points.weights))
        for form in (first, second)
    ]
    better, other = sorted(solutions, key=lambda solution: solution.objective)
    seen = _advantage(better, other)
    generator = np.random.default_rng(seed)
    chances = [_simulated(better, other, generator) >= seen for _ in range(DRAWS)]
    doubt = (1 + sum(chances)) / (1 + DRAWS)
    names = better.problem.form.name, other.problem.form.name
    can_tell = spread(other).freedom > 0 and doubt < DOUBT
    return Verdict(better=names[0], other=names[1], doubt=doubt, told=can_tell)


def _advantage(better: Solution, other: Solution) -> float:
    return float(
        np.log(max(other.objective, other.problem.floor) / max(better.objective, better.problem.floor))
    )


def _simulated(better: Solution, other: Solution, generator: np.random.Generator) -> float:
    """Return the advantage of the better law on points that the other one made."""
    problem = other.problem
    scale = np.sqrt(spread(other).variance / problem.weights)
    values = problem.predict(other.p) + scale * generator.standard_normal(len(problem.values))
    # What ended at zero on the points themselves may be above it on these.
    made = [
        Problem.of(one.problem.form, "mse", problem.inputs, values, problem.weights)
        for one in (better, other)
    ]
    found = [solve(drawn, near=one) for drawn, one in zip(made, (better, other), strict=True)]
    return _advantage(*found)
