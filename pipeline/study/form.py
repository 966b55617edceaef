"""What a scaling law is to the fitter: a sum of coefficients times basis functions, a few of them curved.

Every law here is separable: value = sum_j c_j * basis_j(inputs; theta). Given theta the c_j follow from
linear least squares, so only theta (one or two numbers) has to be searched. A new law is one new file in
`forms/`.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

import pipeline.study.forms
from pipeline.errors import ConfigError

Array = NDArray[np.float64]
Counts = NDArray[np.int64]
Mask = NDArray[np.bool_]
Loss = Literal["mse", "mse-log", "huber-log"]
LOSSES: tuple[Loss, ...] = get_args(Loss)
FAR = 150.0  # bound of an exponent of e, so that squares of products stay within floating point


class Form(Protocol):
    """A law. Each module of `forms/` holds one instance, FORM, named like the module with hyphens."""

    @property
    def name(self) -> str:
        """Its name on the command line."""

    @property
    def formula(self) -> str:
        """The law in one line of text, with the names of the coefficients."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The abscissae it takes, in the order of the columns of `inputs`: x, or params, tokens, flops."""

    @property
    def linear(self) -> tuple[str, ...]:
        """Names of the coefficients that multiply a basis function (L of them), in the order of `basis`."""

    @property
    def curved(self) -> tuple[str, ...]:
        """Names of the coefficients inside the basis functions (T of them)."""

    @property
    def positive(self) -> bool:
        """Whether the linear coefficients are positive; they are then searched as logarithms."""

    @property
    def vanishing(self) -> tuple[str, ...]:
        """Linear coefficients that may end at exactly zero; the law without them is tried as well."""

    @property
    def positive_inputs(self) -> bool:
        """Whether the inputs must be above zero (powers and logarithms)."""

    @property
    def loss(self) -> Loss:
        """The loss it is fitted with unless another is asked for."""

    @property
    def fewest_sizes(self) -> int:
        """How many different sizes a fit needs before a prediction may rest on it."""

    def basis(self, inputs: Array, theta: Array, /) -> Array:
        """Return the basis functions (n, L) at `inputs` (n, k)."""

    def basis_slopes(self, inputs: Array, theta: Array, /) -> Array:
        """Return the derivatives (T, n, L) of the basis by each curved coefficient."""

    def starts(self, inputs: Array, /) -> Array:
        """Return the values of theta (S, T) the search begins from."""

    def is_linear_under(self, loss: Loss, /) -> bool:
        """Whether the residuals are linear in the search coordinates, so that Student's t is exact."""

    def told(self, linear: Array, theta: Array, /) -> tuple[Array, Array]:
        """Return the coefficients by which a law is told, where several sets of them give the same law."""

    def exponents(self, coefficients: dict[str, float], /) -> dict[str, float]:
        """Return the compute-optimal exponents a and b, where the law has them."""


def decay(x: Array, alpha: float) -> Array:
    """Return x^-alpha, bounded where a search strays so far that it would overflow."""
    return np.exp(np.clip(-alpha * np.log(x), -FAR, FAR))


def available() -> tuple[str, ...]:
    """Return the names of all laws, sorted."""
    return tuple(
        sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules(pipeline.study.forms.__path__))
    )


def load(name: str) -> Form:
    """Return the law of that name; ConfigError lists the names there are."""
    if name not in available():
        raise ConfigError(f"--form {name}: no such form; there are {', '.join(available())}")
    module = importlib.import_module(f"{pipeline.study.forms.__name__}.{name.replace('-', '_')}")
    form: Form = module.FORM
    return form
