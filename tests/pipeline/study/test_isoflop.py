"""The best size for a budget, by parabola and by interpolation, on surfaces whose answer is known."""

import math

import numpy as np
import pytest

from pipeline.study import isoflop
from pipeline.study.collect import Point

ALPHA, BETA, A, B, E = 0.34, 0.28, 406.4, 410.7, 1.69
BUDGETS = (1e18, 1e19, 1e20, 1e21)


def best_size(flops: float) -> float:
    """Hoffmann et al. 2022, equation 4."""
    scale = (ALPHA * A / (BETA * B)) ** (1 / (ALPHA + BETA))
    return scale * (flops / 6) ** (BETA / (ALPHA + BETA))


def curves(spread: float = 0.5, count: int = 9):
    flops = np.repeat(BUDGETS, count)
    params = np.concatenate([best_size(c) * np.logspace(-spread, spread, count) for c in BUDGETS])
    tokens = flops / 6 / params
    return params, tokens, flops, E + A * params**-ALPHA + B * tokens**-BETA


@pytest.mark.parametrize("method", isoflop.METHODS)
def test_minima_and_exponents_are_those_of_the_surface(method):
    found = isoflop.frontier(*curves(), method)

    assert found.warnings == ()
    for minimum, flops in zip(found.minima, BUDGETS, strict=True):
        assert minimum.flops == pytest.approx(flops)
        assert minimum.params == pytest.approx(best_size(flops), rel=0.1)
        assert minimum.tokens == pytest.approx(flops / 6 / minimum.params, rel=0.01)
    assert found.exponents["a"] == pytest.approx(BETA / (ALPHA + BETA), abs=0.003)
    assert found.exponents["b"] == pytest.approx(ALPHA / (ALPHA + BETA), abs=0.003)
    low, high = found.intervals["a"]
    assert low <= found.exponents["a"] <= high


def test_interpolation_does_not_share_the_parabolas_bias_on_a_wide_curve():
    wide = curves(spread=1.0, count=15)
    miss = {
        method: abs(math.log(isoflop.frontier(*wide, method).minima[0].params / best_size(BUDGETS[0])))
        for method in isoflop.METHODS
    }

    assert miss["interpolation"] < 0.02 < miss["parabola"]


def test_a_budget_whose_best_size_is_at_the_edge_is_left_out_and_named():
    params, tokens, flops, values = curves()
    keep = (flops != 1e18) | (params > best_size(1e18) * 1.2)

    found = isoflop.frontier(params[keep], tokens[keep], flops[keep], values[keep], "parabola")

    assert found.warnings == ("1e+18 FLOPs: the best size is at the edge; train sizes beyond it",)
    assert found.exponents["a"] == pytest.approx(BETA / (ALPHA + BETA), abs=0.003)


def test_too_few_budgets_give_no_exponents():
    rows = [column[:9] for column in curves()]

    found = isoflop.frontier(*rows, "interpolation")

    assert found.exponents == {}
    assert "1 budgets with a minimum give no exponents" in found.warnings[-1]


def test_both_counts_of_parameters_are_named_and_differ():
    params, tokens, flops, values = curves()
    points = [
        Point(
            name=f"run-{i}", family="", arm="", params=round(n + 5000 * math.sqrt(n)),
            params_non_embedding=round(n), tokens=round(d), unique_tokens=round(d), flops=c, batch_tokens=1,
            lr=1.0, seed=0, step=1, metric="loss", value=v, stderr=None, config_hash=str(i),
        )
        for i, (n, d, c, v) in enumerate(zip(params, tokens, flops, values, strict=True))
    ]  # fmt: skip

    found = isoflop.by_count(points)

    kaplan = found["params_non_embedding"]["interpolation"].exponents["a"]
    chinchilla = found["params"]["interpolation"].exponents["a"]
    assert set(found) == set(isoflop.COUNTS)
    assert kaplan == pytest.approx(BETA / (ALPHA + BETA), abs=0.003)
    assert chinchilla < kaplan - 0.01  # embeddings are a larger share of small models
