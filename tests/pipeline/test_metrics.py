"""Standard errors against textbook values and against simulated draws."""

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.metrics import (
    Estimate,
    accuracy,
    bits_per_byte,
    bootstrap,
    clustered_mean,
    clustered_ratio,
    mean,
    median,
    perplexity,
    ratio,
)


def test_accuracy_has_the_binomial_error():
    assert accuracy([True] * 36 + [False] * 64) == Estimate(0.36, pytest.approx(0.048), 100)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=50))
def test_a_mean_has_the_textbook_error(values):
    found = mean(values)

    assert found.value == pytest.approx(statistics.fmean(values), abs=1e-9)
    assert found.stderr == pytest.approx(statistics.stdev(values) / math.sqrt(len(values)), abs=1e-6)


def test_one_example_has_no_known_error():
    assert mean([3.0]) == Estimate(3.0, None, 1)
    assert clustered_mean([1.0, 2.0], ["same", "same"]).stderr is None
    assert perplexity(Estimate(0.0, None, 1)) == Estimate(1.0, None, 1)


def test_repeating_every_example_of_a_cluster_changes_no_error():
    once = clustered_mean([1.0, 4.0, 2.0], [0, 1, 2])
    thrice = clustered_mean([1.0, 4.0, 2.0] * 3, [0, 1, 2] * 3)

    assert thrice.value == once.value and thrice.num_examples == 9
    assert thrice.stderr == pytest.approx(once.stderr)
    assert mean([1.0, 4.0, 2.0] * 3).stderr < once.stderr


def test_a_ratio_is_the_sum_over_the_sum():
    assert ratio([1.0, 5.0], [1, 2]).value == 2.0
    assert ratio([2.0, 4.0], [1, 2]) == Estimate(2.0, 0.0, 2)


def draw_documents(draw, documents=60):
    lengths = [draw.randint(5, 200) for _ in range(documents)]
    levels = [draw.gauss(3.0, 0.5) for _ in range(documents)]
    nats = [sum(draw.gauss(level, 1.0) for _ in range(n)) for n, level in zip(lengths, levels, strict=True)]
    return nats, lengths


def test_the_error_of_a_ratio_is_the_spread_of_repeated_draws():
    draw = random.Random(0)
    found = [ratio(*draw_documents(draw)) for _ in range(300)]

    spread = statistics.stdev(estimate.value for estimate in found)

    assert statistics.fmean(estimate.stderr for estimate in found) == pytest.approx(spread, rel=0.12)


def test_perplexity_moves_by_the_delta_method():
    assert perplexity(Estimate(2.0, 0.1, 5)) == Estimate(math.exp(2), pytest.approx(0.1 * math.exp(2)), 5)
    assert perplexity(Estimate(1000.0, 0.1, 5)).value == math.inf


def test_a_uniform_model_over_bytes_costs_eight_bits():
    assert bits_per_byte([10 * math.log(256), 4 * math.log(256)], [10, 4]).value == pytest.approx(8.0)


@pytest.mark.parametrize("call", [lambda: mean([]), lambda: accuracy([]), lambda: ratio([1.0], [0])])
def test_nothing_to_estimate_from_is_an_error(call):
    with pytest.raises(ValueError):
        call()


def test_clusters_must_name_every_example():
    with pytest.raises(ValueError):
        clustered_ratio([1.0, 2.0], [1, 1], ["only one"])


def test_the_error_of_a_median_is_the_spread_of_repeated_draws():
    draw = random.Random(0)
    found = [median([draw.gauss(3, 1) for _ in range(100)]) for _ in range(400)]

    spread = statistics.stdev(estimate.value for estimate in found)

    assert statistics.fmean(estimate.stderr for estimate in found) == pytest.approx(spread, rel=0.15)
    assert spread == pytest.approx(math.sqrt(math.pi / 2) / 10, rel=0.1)  # of a normal distribution


def test_a_median_of_too_few_has_no_error():
    assert median([3.0, 1.0]) == Estimate(2.0, None, 2)
    assert median([5.0]) == Estimate(5.0, None, 1)


def test_the_error_of_a_figure_of_sums_is_that_of_the_formula_where_there_is_one():
    draw = random.Random(1)
    pairs = [(draw.gauss(3, 1), draw.uniform(1, 2)) for _ in range(300)]

    found = bootstrap(pairs, lambda sums: sums[0] / sums[1])

    expected = ratio(*zip(*pairs, strict=True))
    assert found.value == pytest.approx(expected.value) and found.num_examples == 300
    assert found.stderr == pytest.approx(expected.stderr, rel=0.1)
    assert found == bootstrap(pairs, lambda sums: sums[0] / sums[1])
    assert found != bootstrap(pairs, lambda sums: sums[0] / sums[1], seed=1)
    assert bootstrap(pairs[:1], lambda sums: sums[0]) == Estimate(pairs[0][0], None, 1)
