"""A metric against size, in one line of a table and one word."""

import numpy as np
import pytest

from pipeline.study.merit import CHANCE
from pipeline.study.series import Series, described, markdown

SIZES = np.geomspace(1e6, 1e9, 7)
RISE = np.linspace(0, 1, 7)


def series(values, **known) -> Series:
    values = np.asarray(values, dtype=float)
    return Series(name="task", sizes=SIZES, values=values, **{"higher_is_better": True, **known})


SHAPES = {
    "straight": series(0.3 + 0.3 * RISE),
    "saturating": series(0.9 - 0.6 * np.exp(-3 * RISE)),
    "accelerating": series(0.2 + 0.02 * np.exp(3 * RISE)),
    "at chance": series(0.25 + 0.01 * np.sin(9 * RISE), chance=CHANCE["hellaswag"], noise=0.01),
    "thresholded": series([0.5, 0.5, 0.51, 0.5, 0.58, 0.66, 0.75], chance=CHANCE["piqa"], noise=0.01),
    "saturated": series([0.5, 0.8, 0.9, 0.97, 0.985, 0.995, 0.995], ceiling=1.0, noise=0.004),
    "no trend above the noise": series(0.4 + 0.01 * np.sin(9 * RISE), noise=0.02),
}


@pytest.mark.parametrize("word", SHAPES)
def test_a_shape_is_named(word):
    assert described(SHAPES[word]).shape.partition(":")[0] == word


def test_a_loss_that_falls_ever_less_is_saturating_too():
    falling = series(2 + 3 * np.exp(-3 * RISE), higher_is_better=False)

    assert described(falling).shape == "saturating: a line promises too much"


def test_steps_that_gain_nothing_are_counted_and_the_error_is_told_in_noise():
    row = described(series([1, 2, 3, 2.9, 5, 5, 7], noise=0.5))

    assert (row.wrong_steps, row.steps, row.decades) == (2, 6, pytest.approx(3))
    assert row.error_in_noise == pytest.approx(abs(row.held_out_error) / 0.5)


def test_a_value_of_zero_has_no_power_law():
    row = described(series([0, 0, 1, 2, 3, 4, 5]))

    assert row.log_log_r2 is None
    assert "|  |" in markdown([row])


def test_seeds_of_a_size_count_by_their_errors_and_steps_are_between_means():
    rise, errors = np.repeat(RISE, 2), np.tile([0.01, 1.0], 7)
    values = rise + np.tile([0.0, 0.5], 7)

    row = described(Series(name="task", sizes=np.repeat(SIZES, 2), values=values, higher_is_better=True,
                           errors=errors))  # fmt: skip

    assert (row.steps, row.wrong_steps) == (6, 0)
    assert row.slope == pytest.approx(1 / 3)
    assert row.held_out_error == pytest.approx(-0.25, abs=1e-3), "the mean of the seeds lies above the line"


def test_values_that_are_all_the_same_have_no_share_of_variance():
    row = described(series([0.5] * 7))

    assert (row.r2, row.shape) == (None, "no trend above the noise")
    assert markdown([row])
