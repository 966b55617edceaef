"""One law, one loss and the points: what a search for coefficients asks of them, with its gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.study.form import FAR, Array, Form, Loss

DELTA = (
    1e-3  # where Huber's loss turns from square to straight, in log units (Hoffmann et al. 2022, section 3.3)
)
TINY = 1e-300


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One law, one loss and the points; `present` says which linear coefficients are not held at zero.

    The search coordinates p (P,) are the present linear coefficients (as logarithms where they are positive)
    followed by theta.
    """

    form: Form
    loss: Loss
    inputs: Array  # (n, k)
    values: Array  # (n,)
    weights: Array  # (n,), mean one
    present: tuple[bool, ...]

    @staticmethod
    def of(form: Form, loss: Loss, inputs: Array, values: Array, weights: Array | None = None) -> Problem:
        """Return the problem with every coefficient present and the weights brought to a mean of one."""
        weights = np.ones(len(values)) if weights is None else weights / weights.mean()
        present = (True,) * len(form.linear)
        return Problem(form=form, loss=loss, inputs=inputs, values=values, weights=weights, present=present)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the search coordinates."""
        return tuple(n for n, on in zip(self.form.linear, self.present, strict=True) if on) + self.form.curved

    def without(self, name: str) -> Problem:
        """Return the problem with the linear coefficient `name` held at zero."""
        return replace(
            self,
            present=tuple(on and n != name for n, on in zip(self.form.linear, self.present, strict=True)),
        )

    def split(self, p: Array) -> tuple[Array, Array]:
        """Return the linear coefficients (L,), zeros included, and theta (T,) at p."""
        count = sum(self.present)
        linear = np.zeros(len(self.present))
        # The clip keeps a search that strays within floating point; no law of real points comes near it.
        linear[list(self.present)] = (
            np.exp(np.clip(p[:count], -FAR, FAR)) if self.form.positive else p[:count]
        )
        return linear, p[count:]

    def join(self, linear: Array, theta: Array) -> Array:
        """Return p for these coefficients."""
        kept = linear[list(self.present)]
        return np.concatenate([np.log(kept) if self.form.positive else kept, theta])

    def predict(self, p: Array, inputs: Array | None = None) -> Array:
        """Return the law's values (m,) at `inputs` (m, k), by default at the points."""
        linear, theta = self.split(p)
        return np.asarray(self.form.basis(self.inputs if inputs is None else inputs, theta) @ linear)

    def predict_slopes(self, p: Array, inputs: Array | None = None) -> Array:
        """Return the derivatives (m, P) of the law's values by the search coordinates."""
        inputs = self.inputs if inputs is None else inputs
        linear, theta = self.split(p)
        basis = self.form.basis(inputs, theta)[:, list(self.present)]
        by_linear = basis * linear[list(self.present)] if self.form.positive else basis
        by_theta = self.form.basis_slopes(inputs, theta) @ linear  # (T, m)
        return np.concatenate([by_linear, by_theta.T], axis=1)

    def residuals(self, p: Array) -> Array:
        """Return law minus value (n,), of logarithms where the loss is of logarithms."""
        predicted = self.predict(p)
        if self.loss == "mse":
            return predicted - self.values
        return np.log(np.maximum(predicted, TINY)) - np.log(self.values)

    def residual_slopes(self, p: Array) -> Array:
        """Return the derivatives (n, P) of the residuals."""
        slopes = self.predict_slopes(p)
        return slopes if self.loss == "mse" else slopes / np.maximum(self.predict(p), TINY)[:, None]

    def objective(self, p: Array) -> float:
        """Return the loss: the weighted mean of squares, or Huber's loss summed over the points."""
        r = self.residuals(p)
        if self.loss != "huber-log":
            return float(self.weights @ r**2) / len(r)
        size = np.abs(r)
        return float(self.weights @ np.where(size <= DELTA, r**2 / 2, DELTA * (size - DELTA / 2)))

    def curvature(self, p: Array) -> tuple[Array, Array, Array]:
        """Return the gradient (P,), the Gauss-Newton matrix (P, P) and one that bounds it from above (P, P).

        The two matrices differ under Huber's loss alone: its straight part has no curvature, but a parabola
        with the slope of the loss lies above it (Huber 1981, section 7.8).
        """
        r, slopes = self.residuals(p), self.residual_slopes(p)
        if self.loss != "huber-log":
            weights = self.weights * 2 / len(r)
            matrix = slopes.T @ (weights[:, None] * slopes)
            return slopes.T @ (weights * r), matrix, matrix
        bounding = self.weights * np.minimum(1.0, DELTA / np.maximum(np.abs(r), TINY))
        curved = np.where(np.abs(r) <= DELTA, self.weights, 0.0)
        gradient = slopes.T @ (bounding * r)
        return gradient, slopes.T @ (curved[:, None] * slopes), slopes.T @ (bounding[:, None] * slopes)

    def remainder(self, p: Array) -> float:
        """Return the share of the loss that one more Newton step promises to win."""
        gradient, _, matrix = self.curvature(p)
        scale = np.sqrt(np.maximum(np.diag(matrix), TINY))
        step = np.linalg.lstsq(matrix / np.outer(scale, scale), gradient / scale, rcond=1e-14)[0]
        return float(gradient / scale @ step) / 2 / max(self.objective(p), self.floor)

    def has_vanished(self, p: Array) -> bool:
        """Whether a coefficient that may be zero is as good as zero: its logarithm would creep on."""
        linear = dict(zip(self.form.linear, self.split(p)[0], strict=True))
        return any(0 < linear[name] < 1e-5 * float(np.min(self.values)) for name in self.form.vanishing)

    @property
    def floor(self) -> float:
        """The loss below which points count as lying exactly on the law: rounding leaves that much."""
        return max(1e-20 * float(np.mean(self.values**2)), TINY) if self.loss == "mse" else 1e-20

    @property
    def smallest(self) -> float:
        """The least size of a value, above zero: beside it a coefficient may be small."""
        return max(float(np.min(np.abs(self.values))), TINY)
