"""Scores as the evaluation table shows them."""

from __future__ import annotations

import math

import pytest

from pipeline.report.evaluation import Score, shown, words


@pytest.mark.parametrize(
    ("metric", "value", "stderr", "expected"),
    [
        ("bits_per_byte", 2.4113, 0.0126, "2.411 ± 0.013"),
        ("accuracy", 0.2051, 0.011, "20.5 ± 1.1 %"),
        ("accuracy_words", 0.2051, None, "20.5 %"),
        ("perplexity", 159_612.2, 126_266.5, "159,612 ± 126,266"),
        ("perplexity", 61.26, 2.04, "61.3 ± 2.0"),
        ("accuracy", None, None, "missing"),
        ("perplexity", math.inf, None, "missing"),
    ],
)
def test_a_score_stands_in_the_unit_of_its_metric(
    metric: str, value: float | None, stderr: float | None, expected: str
) -> None:
    score = Score(run="a", params=1, seed=0, task="t", metric=metric, value=value, stderr=stderr)

    assert shown(score).replace("\u00a0", " ") == expected


def test_a_metric_is_named_in_words() -> None:
    assert words("held_out.bits_per_byte") == "bits per byte (held out)"
    assert words("loss") == "loss"
