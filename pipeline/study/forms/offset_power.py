"""A power law above a floor: E + A*x^-alpha, where E is what no size removes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.study.form import Array, Form, Loss, decay


@dataclass(frozen=True)
class OffsetPower:
    """Henighan et al. 2020, equation 1.1; E and alpha trade off against each other unless x spans decades."""

    name: str = "offset-power"
    formula: str = "E + A*x^-alpha"
    inputs: tuple[str, ...] = ("x",)
    linear: tuple[str, ...] = ("E", "A")
    curved: tuple[str, ...] = ("alpha",)
    positive: bool = True
    vanishing: tuple[str, ...] = ("E",)
    positive_inputs: bool = True
    loss: Loss = "huber-log"
    fewest_sizes: int = 6

    def basis(self, inputs: Array, theta: Array) -> Array:
        """Return 1 and x^-alpha, (n, 2)."""
        return np.column_stack([np.ones(len(inputs)), decay(inputs[:, 0], theta[0])])

    def basis_slopes(self, inputs: Array, theta: Array) -> Array:
        """Return 0 and -log(x)*x^-alpha, (1, n, 2)."""
        x = inputs[:, 0]
        return np.column_stack([np.zeros(len(x)), -np.log(x) * decay(x, theta[0])])[None]

    def starts(self, _inputs: Array) -> Array:
        """Return exponents from nearly logarithmic to steep, (S, 1)."""
        return np.geomspace(0.01, 3.0, 25)[:, None]

    def is_linear_under(self, _loss: Loss) -> bool:
        """Never linear."""
        return False

    def told(self, linear: Array, theta: Array) -> tuple[Array, Array]:
        """Return the coefficients as they are: no others give the same law."""
        return linear, theta

    def exponents(self, _coefficients: dict[str, float]) -> dict[str, float]:
        """Return nothing."""
        return {}


FORM: Form = OffsetPower()
