from __future__ import annotations

import math

import pytest

from pipeline.config import validate
from pipeline.errors import ConfigError
from pipeline.trainer.schedule import Schedule

TOKENS = 1000


def at(tokens: float, **values) -> float:
    return Schedule(**values).at(tokens, TOKENS, 2.0)


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_a_rate_rises_to_its_peak_and_falls_to_its_fraction(kind):
    values = {"kind": kind, "warmup_tokens": 100, "final_lr_fraction": 0.1}

    assert at(0, **values) == 0
    assert at(50, **values) == pytest.approx(1.0)
    assert at(100, **values) == pytest.approx(2.0)
    assert at(550, **values) == pytest.approx(2.0 * 0.55)
    assert at(1000, **values) == pytest.approx(0.2)
    assert at(5000, **values) == pytest.approx(0.2)


def test_the_cosine_is_a_cosine():
    assert at(250, final_lr_fraction=0.0) == pytest.approx(1 + math.cos(math.pi / 4))


def test_wsd_stays_at_the_peak_and_falls_over_its_last_tokens():
    values = {"kind": "wsd", "warmup_tokens": 100, "decay_tokens": 200, "final_lr_fraction": 0.0}

    assert [at(tokens, **values) for tokens in (100, 500, 800, 900, 1000)] == pytest.approx([2, 2, 2, 1, 0])


@pytest.mark.parametrize("values", [{"kind": "cosine", "decay_tokens": 5}, {"kind": "wsd"}])
def test_decay_tokens_belong_to_wsd_alone(values):
    with pytest.raises(ConfigError, match="decay_tokens is needed by kind: wsd and by no other"):
        validate(Schedule, values, "test")
