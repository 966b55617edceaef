"""An S between two levels: low + (high - low)/(1 + exp(-slope*(x - center))); accuracy from bits per byte."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from pipeline.study.form import Array, Form, Loss


@dataclass(frozen=True)
class Sigmoid:
    """The second step from loss to accuracy (Bhagia et al. 2024, section 3.2); x may have any sign."""

    name: str = "sigmoid"
    formula: str = "low + (high - low)/(1 + exp(-slope*(x - center)))"
    inputs: tuple[str, ...] = ("x",)
    linear: tuple[str, ...] = ("low", "high")
    curved: tuple[str, ...] = ("slope", "center")
    positive: bool = False
    vanishing: tuple[str, ...] = ()
    positive_inputs: bool = False
    loss: Loss = "mse"
    fewest_sizes: int = 7

    def basis(self, inputs: Array, theta: Array) -> Array:
        """Return 1 - s and s, the logistic function of slope*(x - center), (n, 2)."""
        risen = self._risen(inputs, theta)
        return np.column_stack([1 - risen, risen])

    def basis_slopes(self, inputs: Array, theta: Array) -> Array:
        """Return the derivatives by slope and by center, (2, n, 2)."""
        risen = self._risen(inputs, theta)
        steep = risen * (1 - risen)
        moved = np.stack([(inputs[:, 0] - theta[1]) * steep, -theta[0] * steep])
        return np.stack([-moved, moved], axis=2)

    def starts(self, inputs: Array) -> Array:
        """Return centers from below the points to above them, with gentle to steep slopes, (S, 2)."""
        low, high = float(inputs.min()), float(inputs.max())
        width = (high - low) or 1.0
        slopes = np.array([1, 2, 4, 8, 16, 32, 64]) / width
        centers = np.linspace(low - width / 2, high + width / 2, 17)
        return np.array([(slope, center) for slope in slopes for center in centers])

    def is_linear_under(self, _loss: Loss) -> bool:
        """Never linear."""
        return False

    def told(self, linear: Array, theta: Array) -> tuple[Array, Array]:
        """Return the curve with low below high: the slope's sign says whether it rises or falls with x."""
        turned = linear[0] > linear[1]
        return (linear[::-1], theta * np.array([-1, 1])) if turned else (linear, theta)

    def exponents(self, _coefficients: dict[str, float]) -> dict[str, float]:
        """Return nothing."""
        return {}

    def _risen(self, inputs: Array, theta: Array) -> Array:
        return np.asarray(expit(theta[0] * (inputs[:, 0] - theta[1])), dtype=np.float64)


FORM: Form = Sigmoid()
