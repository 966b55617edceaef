"""Calibration on answers whose confidence and rightness are known."""

import random

import pytest

from pipeline.evaluate.calibration import calibration_error, most_confident


def test_the_most_confident_share_is_rounded_up_and_never_empty():
    confidences, hits = [0.1, 0.9, 0.5, 0.8], [0.0, 1.0, 1.0, 0.0]

    assert most_confident(confidences, hits, 0.01).value == 1
    assert most_confident(confidences, hits, 0.5).value == 0.5
    assert most_confident(confidences, hits, 0.51).num_examples == 3


def test_of_examples_as_confident_the_earlier_are_chosen():
    assert most_confident([0.5] * 100, [1.0] + [0.0] * 99, 0.01).value == 1


def test_a_model_as_often_right_as_it_is_sure_has_almost_no_error():
    draw = random.Random(0)
    confidences = [draw.random() for _ in range(3000)]
    hits = [float(draw.random() < confidence) for confidence in confidences]
    found = calibration_error(confidences, hits, seed=0)

    assert found.value < 0.04 and 0 < found.stderr < 0.02 and found.num_examples == 3000


def test_a_model_that_is_always_sure_and_never_right_has_all_the_error_there_is():
    found = calibration_error([1.0] * 30, [0.0] * 30, seed=0)

    assert (found.value, found.stderr) == (1, 0)


def test_the_error_is_the_mean_distance_within_bins_by_hand():
    # ten bins of two: each has confidence 0.4 on average and one hit of two, but the last, with two
    confidences = [0.3 + n * 0.01 for n in range(20)]
    hits = [1.0, 0.0] * 9 + [1.0, 1.0]
    means = [(confidences[2 * bin] + confidences[2 * bin + 1]) / 2 for bin in range(10)]
    expected = sum(abs(mean - share) for mean, share in zip(means, [0.5] * 9 + [1.0], strict=True)) / 10

    assert calibration_error(confidences, hits, seed=0).value == pytest.approx(expected)


def test_the_same_seed_gives_the_same_error_and_one_example_none():
    confidences, hits = [0.2, 0.7, 0.4], [0.0, 1.0, 1.0]

    assert calibration_error(confidences, hits, 1) == calibration_error(confidences, hits, 1)
    assert calibration_error([0.2], [1.0], 1).stderr is None
