"""Which way a bootstrap is drawn, and how much each point counts."""

import numpy as np
import pytest

from pipeline.study.collect import Point
from pipeline.study.fit import fit_points
from pipeline.study.form import load
from pipeline.study.table import Points
from pipeline.study.weigh import errors, weights

SIZES = np.geomspace(1e4, 1e7, 6)


def seeds(count: int, noise: float) -> Points:
    x = np.repeat(SIZES, count)
    values = 5 - 0.4 * np.log10(x) + noise * np.random.default_rng(1).standard_normal(len(x))
    return Points(inputs=x[:, None], values=values, weights=None, names=("",) * len(x))


def point(size: int, value: float, seed: int = 0, stderr: float | None = None) -> Point:
    return Point(
        name=f"n{size}-{seed}", family="", arm="", params=size, params_non_embedding=size, tokens=1,
        unique_tokens=1, flops=1.0, batch_tokens=1, lr=1.0, seed=seed, step=1, metric="loss", value=value,
        stderr=stderr, config_hash=f"{size}-{seed}",
    )  # fmt: skip


def test_seeds_are_drawn_where_sizes_are_few_and_each_has_some():
    found = fit_points(load("log-linear"), seeds(5, 0.02), draws=300)
    exact = 0.02 / np.sqrt(5) / np.sqrt(np.sum((np.log10(SIZES) - np.log10(SIZES).mean()) ** 2))

    low, high = found.bounds["b"]
    assert "seeds of each size drawn" in found.interval_method
    assert low < -0.4 < high
    assert (high - low) / 2 / 1.96 == pytest.approx(exact, rel=0.35)


def test_known_standard_errors_make_a_parametric_bootstrap():
    points = seeds(1, 0.0)
    found = fit_points(load("log-linear"), points, draws=400, noise=np.full(6, 0.05))
    exact = 0.05 / np.sqrt(np.sum((np.log10(SIZES) - np.log10(SIZES).mean()) ** 2))

    low, high = found.bounds["b"]
    assert "normal noise of the given standard errors" in found.interval_method
    assert (high - low) / 2 / 1.96 == pytest.approx(exact, rel=0.15)


def test_a_point_counts_by_the_spread_of_seeds_and_the_error_of_its_evaluation():
    points = [point(10, 1.0), point(10, 1.2, seed=1), point(100, 0.9, stderr=0.4)]

    pooled = np.sqrt(0.02)
    assert errors(points, "params") == pytest.approx([pooled, pooled, 0.4])
    assert weights(points, "params") == pytest.approx([50, 50, 1 / 0.16])


def test_under_logarithms_a_point_counts_by_its_relative_error():
    points = [point(10, 2.0, stderr=0.1), point(100, 1.0, stderr=0.1)]

    assert weights(points, "params", loss="mse-log") == pytest.approx([400, 100])


def test_without_seeds_or_errors_all_points_count_the_same():
    assert weights([point(10, 1.0), point(100, 0.9)], "params") is None
