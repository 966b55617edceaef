"""Loss from parameters and tokens: E + A/N^alpha + B/D^beta, the law behind compute-optimal training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.study.form import Array, Form, Loss, decay


@dataclass(frozen=True)
class Hoffmann:
    """Hoffmann et al. 2022, equation 2; N and D as the columns give them, in units of one."""

    name: str = "hoffmann"
    formula: str = "E + A/params^alpha + B/tokens^beta"
    inputs: tuple[str, ...] = ("params", "tokens")
    linear: tuple[str, ...] = ("E", "A", "B")
    curved: tuple[str, ...] = ("alpha", "beta")
    positive: bool = True
    vanishing: tuple[str, ...] = ("E",)
    positive_inputs: bool = True
    loss: Loss = "huber-log"
    fewest_sizes: int = 10

    def basis(self, inputs: Array, theta: Array) -> Array:
        """Return 1, N^-alpha and D^-beta, (n, 3)."""
        return np.column_stack([np.ones(len(inputs)), *self._decays(inputs, theta)])

    def basis_slopes(self, inputs: Array, theta: Array) -> Array:
        """Return -log(N)*N^-alpha and -log(D)*D^-beta, each in its own column, (2, n, 3)."""
        slopes = np.zeros((2, len(inputs), 3))
        for which, decayed in enumerate(self._decays(inputs, theta)):
            slopes[which, :, 1 + which] = -np.log(inputs[:, which]) * decayed
        return slopes

    def starts(self, _inputs: Array) -> Array:
        """Return every pair of exponents from nearly logarithmic to steep, (S, 2)."""
        line = np.geomspace(0.02, 2.5, 13)
        return np.array([(alpha, beta) for alpha in line for beta in line])

    def is_linear_under(self, _loss: Loss) -> bool:
        """Never linear."""
        return False

    def told(self, linear: Array, theta: Array) -> tuple[Array, Array]:
        """Return the coefficients as they are: no others give the same law."""
        return linear, theta

    def exponents(self, coefficients: dict[str, float]) -> dict[str, float]:
        """Return a and b of N ~ C^a, D ~ C^b, where C = 6*N*D is spent best (equation 4)."""
        alpha, beta = coefficients["alpha"], coefficients["beta"]
        both = alpha + beta
        return {"a": beta / both, "b": alpha / both} if both else {}

    def _decays(self, inputs: Array, theta: Array) -> tuple[Array, Array]:
        return decay(inputs[:, 0], theta[0]), decay(inputs[:, 1], theta[1])


FORM: Form = Hoffmann()
