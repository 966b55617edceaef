"""Figures of classes, scores and of GLUE: against scikit-learn and scipy, errors against simulated draws."""

import math
import statistics

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.metrics import Estimate, accuracy, f1_binary, glue_average, matthews, pearson, spearman

CLASSES = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=60)
# Halves from 0 to 5, so that values are shared, as STS-B's are.
SCORES = st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), min_size=3, max_size=60)


def drawn(seed: int, size: int = 200) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    scores = draw.normal(size=size)
    predictions = 0.6 * scores + draw.normal(size=size) * (1 + 0.3 * abs(scores))
    return np.round(scores * 2) / 2, predictions


@settings(deadline=None, max_examples=25)
@given(CLASSES)
def test_matthews_is_that_of_scikit_learn(pairs):
    labels, predictions = zip(*[*pairs, (True, False)], strict=True)  # of one class alone it would warn

    assert matthews(labels, predictions).value == pytest.approx(
        sklearn.metrics.matthews_corrcoef(labels, predictions), abs=1e-9
    )


@settings(deadline=None, max_examples=25)
@given(CLASSES)
def test_f1_is_that_of_scikit_learn(pairs):
    labels, predictions = zip(*pairs, strict=True)

    assert f1_binary(labels, predictions).value == pytest.approx(
        sklearn.metrics.f1_score(labels, predictions, zero_division=0.0)
    )


@settings(deadline=None, max_examples=25)
@given(CLASSES)
def test_accuracy_is_that_of_scikit_learn(pairs):
    labels, predictions = zip(*pairs, strict=True)
    hits = [label == found for label, found in pairs]

    assert accuracy(hits).value == pytest.approx(sklearn.metrics.accuracy_score(labels, predictions))


@settings(deadline=None, max_examples=25)
@given(SCORES)
def test_correlations_are_those_of_scipy(pairs):
    scores, predictions = (list(values) for values in zip(*pairs, strict=True))
    if len(set(scores)) == 1 or len(set(predictions)) == 1:
        for figure in (pearson, spearman):
            assert figure(scores, predictions) == Estimate(0.0, None, len(scores))
        return

    assert pearson(scores, predictions).value == pytest.approx(
        scipy.stats.pearsonr(scores, predictions).statistic, abs=1e-9
    )
    assert spearman(scores, predictions).value == pytest.approx(
        scipy.stats.spearmanr(scores, predictions).statistic, abs=1e-9
    )


def test_classes_that_are_never_told_apart_have_a_correlation_of_nought():
    assert matthews([True, False, True], [True, True, True]) == Estimate(0.0, None, 3)
    assert f1_binary([False, False], [False, False]) == Estimate(0.0, None, 2)


def as_classes(pair: tuple[np.ndarray, np.ndarray]) -> tuple[list[bool], list[bool]]:
    return tuple([bool(value > 0.3) for value in values] for values in pair)


@pytest.mark.parametrize(
    ("figure", "seen"),
    [(pearson, drawn), (spearman, drawn)]
    + [(figure, lambda seed: as_classes(drawn(seed))) for figure in (matthews, f1_binary)],
)
def test_an_error_is_the_spread_of_repeated_draws(figure, seen):
    found = [figure(*seen(seed)) for seed in range(300)]

    spread = statistics.stdev(estimate.value for estimate in found)

    assert statistics.fmean(estimate.stderr for estimate in found) == pytest.approx(spread, rel=0.12)


def test_a_perfect_correlation_is_known_exactly():
    assert pearson([1, 2, 4], [3, 5, 9]) == Estimate(pytest.approx(1.0), pytest.approx(0.0, abs=1e-9), 3)
    assert spearman([1, 2, 4], [9, 7, 0]) == Estimate(pytest.approx(-1.0), pytest.approx(0.0, abs=1e-9), 3)


@pytest.mark.parametrize("figure", [pearson, spearman, f1_binary, matthews])
def test_values_must_come_in_pairs_and_there_must_be_some(figure):
    with pytest.raises(ValueError):
        figure([1.0, 0.0, 1.0], [1.0, 0.0])
    with pytest.raises(ValueError):
        figure([], [])


def test_glue_counts_each_task_once_by_the_mean_of_its_metrics():
    tasks = {
        "cola": [Estimate(0.454, 0.03, 1000)],
        "mrpc": [Estimate(0.8, 0.02, 400), Estimate(0.9, 0.04, 400)],
    }

    found = glue_average(tasks)

    assert found == Estimate(pytest.approx((0.454 + 0.85) / 2), pytest.approx(0.03 / math.sqrt(2)), 1400)
    assert glue_average(tasks | {"rte": [Estimate(0.5, None, 1)]}).stderr is None
    with pytest.raises(ValueError):
        glue_average({})


def test_the_average_of_table_5_follows_from_its_columns():
    columns = (0.454, 0.913, 0.823, 0.820, 0.703, 0.818, 0.881, 0.560)
    found = glue_average({str(place): [Estimate(value, 0.0, 1)] for place, value in enumerate(columns)})

    assert found.value == pytest.approx(0.747, abs=0.0006)
