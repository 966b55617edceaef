"""How often 95 % intervals hold the truth of synthetic surfaces. Minutes; the quick ones are in test_fit."""

import numpy as np
import pytest

from pipeline.study.apart import tell_apart
from pipeline.study.fit import fit_points
from pipeline.study.form import load
from pipeline.study.table import Points

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TRUTH = {"E": 1.7, "alpha": 0.34, "beta": 0.28}


def surface(generator: np.random.Generator) -> Points:
    """60 points of E + A/N^alpha + B/D^beta over three decades of each, with 1 % noise."""
    params, tokens = 10 ** generator.uniform(6.5, 9.5, 60), 10 ** generator.uniform(8, 11, 60)
    law = 1.7 + 400 * params**-0.34 + 410 * tokens**-0.28
    values = law * np.exp(0.01 * generator.standard_normal(60))
    return Points(inputs=np.column_stack([params, tokens]), values=values, weights=None, names=("",) * 60)


def test_intervals_of_hoffmanns_law_hold_the_truth_90_to_98_percent_of_the_time():
    generator, hits = np.random.default_rng(0), dict.fromkeys((*TRUTH, "a"), 0)
    for _ in range(200):
        bounds = fit_points(load("hoffmann"), surface(generator), loss="mse-log").bounds
        for name, value in (TRUTH | {"a": 0.28 / 0.62}).items():
            low, high = bounds[name]
            hits[name] += (low is None or low <= value) and (high is None or high >= value)
    assert {name: 180 <= count <= 196 for name, count in hits.items()} == dict.fromkeys(hits, True), hits


def test_neither_law_is_preferred_wrongly_more_often_than_the_test_says():
    generator, sizes = np.random.default_rng(0), np.geomspace(1e4, 1e7, 7)
    wrong = right = 0
    for law in ("log-linear", "power") * 20:
        truth = 5 - 0.45 * np.log10(sizes) if law == "log-linear" else 40 * sizes**-0.25
        values = truth + 0.02 * generator.standard_normal(7)
        points = Points(inputs=sizes[:, None], values=values, weights=None, names=("",) * 7)
        verdict = tell_apart(load("log-linear"), load("power"), points)
        wrong += verdict.told and verdict.better != law
        right += verdict.told and verdict.better == law
    assert wrong <= 4
    assert right >= 20


def test_an_offset_law_below_ten_points_says_that_it_cannot_tell():
    generator, sizes = np.random.default_rng(0), np.geomspace(1e4, 1e7, 8)
    for _ in range(20):
        values = (1.5 + 30 * sizes**-0.3) * np.exp(0.01 * generator.standard_normal(8))
        points = Points(inputs=sizes[:, None], values=values, weights=None, names=("",) * 8)
        found = fit_points(load("offset-power"), points, loss="mse-log")
        assert any("8 sizes cannot say whether there is an offset" in warning for warning in found.warnings)
