"""A power law that goes to zero: A*x^-alpha, a straight line on two logarithmic axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.study.form import Array, Form, Loss, decay


@dataclass(frozen=True)
class Power:
    """Kaplan et al. 2020, equation 1.1: loss = (N_c/N)^alpha, here with A = N_c^alpha."""

    name: str = "power"
    formula: str = "A*x^-alpha"
    inputs: tuple[str, ...] = ("x",)
    linear: tuple[str, ...] = ("A",)
    curved: tuple[str, ...] = ("alpha",)
    positive: bool = True
    vanishing: tuple[str, ...] = ()
    positive_inputs: bool = True
    loss: Loss = "mse-log"
    fewest_sizes: int = 3

    def basis(self, inputs: Array, theta: Array) -> Array:
        """Return x^-alpha, (n, 1)."""
        return decay(inputs, theta[0])

    def basis_slopes(self, inputs: Array, theta: Array) -> Array:
        """Return -log(x)*x^-alpha, (1, n, 1)."""
        return (-np.log(inputs) * decay(inputs, theta[0]))[None]

    def starts(self, _inputs: Array) -> Array:
        """Return exponents of both signs: the law also describes values that grow with x, (S, 1)."""
        return np.array([-2, -1, -0.5, -0.2, -0.05, 0, 0.05, 0.1, 0.2, 0.4, 0.7, 1, 2], dtype=float)[:, None]

    def is_linear_under(self, loss: Loss) -> bool:
        """Linear in log A and alpha on the logarithm of the value."""
        return loss == "mse-log"

    def told(self, linear: Array, theta: Array) -> tuple[Array, Array]:
        """Return the coefficients as they are: no others give the same law."""
        return linear, theta

    def exponents(self, _coefficients: dict[str, float]) -> dict[str, float]:
        """Return nothing."""
        return {}


FORM: Form = Power()
