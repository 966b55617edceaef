"""Accuracy predicted through bits per byte, and the interval that holds both steps' errors."""

import numpy as np
import pytest

from pipeline.study.form import load
from pipeline.study.problem import Problem
from pipeline.study.solve import solve
from pipeline.study.two_step import Chained, chain

SIZES = np.geomspace(1e7, 1e9, 9)
LARGEST = np.array([[1e10]])


def bits(sizes):
    return 0.6 + 30 * sizes**-0.22


def accuracy(x):
    return 0.25 + 0.7 / (1 + np.exp(8 * (x - 0.95)))


def steps(noise: float, seed: int = 0):
    generator = np.random.default_rng(seed)
    x = bits(SIZES) * np.exp(noise * generator.standard_normal(9))
    y = accuracy(x) + noise * generator.standard_normal(9)
    return (
        solve(Problem.of(load("offset-power"), "mse-log", SIZES[:, None], x)),
        solve(Problem.of(load("sigmoid"), "mse", x[:, None], y)),
    )


def test_exact_points_give_the_accuracy_of_the_planted_laws():
    found = chain(*steps(0.0), LARGEST)

    assert found.bits_per_byte == pytest.approx(bits(1e10), rel=1e-4)
    assert found.value == pytest.approx(accuracy(bits(1e10)), rel=1e-3)


def test_the_interval_holds_the_truth_and_what_lies_outside_the_sigmoid_is_told():
    found = chain(*steps(0.004), LARGEST)

    assert found.low[0] < accuracy(bits(1e10)) < found.high[0]
    assert 0.005 < found.high[0] - found.low[0] < 0.4
    assert "the predicted bits per byte lie outside" in found.warnings[0]


def test_a_sigmoid_whose_coefficients_cannot_be_told_apart_still_has_an_interval():
    first = steps(0.004)[0]
    x = bits(SIZES)
    flat = solve(Problem.of(load("sigmoid"), "mse", x[:, None], 0.5 - 0.01 * x + 0.001 * np.cos(9 * x)))

    found = chain(first, flat, LARGEST)

    assert found.low[0] <= found.value[0] <= found.high[0]


@pytest.mark.parametrize(
    ("value", "low", "high", "told"),
    [
        (0.25, 0.2, 0.31, ""),
        (0.0, -0.1, 0.1, ""),
        (0.25, np.nan, np.nan, ""),
        (-0.012, -3.0, 5.0, "-0.012, which is no share"),
        (1.2, 1.1, 1.3, "1.200, which is no share"),
        (0.009, -0.3, 0.004, "-0.300 to 0.004"),
    ],
)
def test_a_value_that_is_no_share_or_contradicted_by_its_interval_is_no_prediction(value, low, high, told):
    ends = (np.array([number]) for number in (1.0, value, low, high))
    bits_per_byte, value, low, high = ends

    found = Chained(bits_per_byte=bits_per_byte, value=value, low=low, high=high, warnings=()).refusal

    assert (found == "") if not told else (told in found)
