"""Loss from compute and tokens per parameter: E + (a*M^eta + b*M^-eta)*C^-eta, M = tokens / params."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.study.form import Array, Form, Loss, decay


@dataclass(frozen=True)
class Overtraining:
    """Gadre et al. 2024, equation 4: models trained on more tokens than is best lie on parallel lines."""

    name: str = "overtraining"
    formula: str = "E + (a*M^eta + b*M^-eta)*flops^-eta with M = tokens/params"
    inputs: tuple[str, ...] = ("params", "tokens", "flops")
    linear: tuple[str, ...] = ("E", "a", "b")
    curved: tuple[str, ...] = ("eta",)
    positive: bool = True
    vanishing: tuple[str, ...] = ("E",)
    positive_inputs: bool = True
    loss: Loss = "huber-log"
    fewest_sizes: int = 8

    def basis(self, inputs: Array, theta: Array) -> Array:
        """Return 1, (C/M)^-eta and (C*M)^-eta, (n, 3)."""
        bases = self._bases(inputs)
        return np.column_stack([np.ones(len(inputs)), *(decay(base, theta[0]) for base in bases)])

    def basis_slopes(self, inputs: Array, theta: Array) -> Array:
        """Return the derivatives by eta, (1, n, 3)."""
        slopes = [-np.log(base) * decay(base, theta[0]) for base in self._bases(inputs)]
        return np.column_stack([np.zeros(len(inputs)), *slopes])[None]

    def starts(self, _inputs: Array) -> Array:
        """Return exponents from nearly logarithmic to steep, (S, 1)."""
        return np.geomspace(0.005, 1.5, 25)[:, None]

    def is_linear_under(self, _loss: Loss) -> bool:
        """Never linear."""
        return False

    def told(self, linear: Array, theta: Array) -> tuple[Array, Array]:
        """Return the coefficients as they are: no others give the same law."""
        return linear, theta

    def exponents(self, _coefficients: dict[str, float]) -> dict[str, float]:
        """Return one half twice: the law itself says that the best M is the same at every C."""
        return {"a": 0.5, "b": 0.5}

    def _bases(self, inputs: Array) -> tuple[Array, Array]:
        """Return C/M and C*M, (n,) each."""
        params, tokens, flops = inputs.T
        return flops / (tokens / params), flops * (tokens / params)


FORM: Form = Overtraining()
