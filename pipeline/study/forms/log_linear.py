"""A straight line against the logarithm: a + b*log10(x), b being the gain per decade."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.study.form import Array, Form, Loss


@dataclass(frozen=True)
class LogLinear:
    """The claim of the GPT-2 paper's figures: each tenfold of parameters adds the same amount."""

    name: str = "log-linear"
    formula: str = "a + b*log10(x)"
    inputs: tuple[str, ...] = ("x",)
    linear: tuple[str, ...] = ("a", "b")
    curved: tuple[str, ...] = ()
    positive: bool = False
    vanishing: tuple[str, ...] = ()
    positive_inputs: bool = True
    loss: Loss = "mse"
    fewest_sizes: int = 3

    def basis(self, inputs: Array, _theta: Array) -> Array:
        """Return 1 and log10 x, (n, 2)."""
        return np.column_stack([np.ones(len(inputs)), np.log10(inputs[:, 0])])

    def basis_slopes(self, inputs: Array, _theta: Array) -> Array:
        """Return nothing: no coefficient is curved, (0, n, 2)."""
        return np.zeros((0, len(inputs), 2))

    def starts(self, _inputs: Array) -> Array:
        """Return the one empty start, (1, 0)."""
        return np.zeros((1, 0))

    def is_linear_under(self, loss: Loss) -> bool:
        """Linear in a and b on the raw value."""
        return loss == "mse"

    def told(self, linear: Array, theta: Array) -> tuple[Array, Array]:
        """Return the coefficients as they are: no others give the same law."""
        return linear, theta

    def exponents(self, _coefficients: dict[str, float]) -> dict[str, float]:
        """Return nothing."""
        return {}


FORM: Form = LogLinear()
