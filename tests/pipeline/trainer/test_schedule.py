from __future__ import annotations

import pytest

from pipeline.config import validate
from pipeline.errors import ConfigError
from pipeline.trainer.schedule import Schedule

TOKENS = 1000
SHAPES = [
    {"kind": "cosine"},
    {"kind": "linear"},
    {"kind": "wsd", "decay_tokens": 200},
    {"kind": "wsd", "decay_tokens": 200, "decay_shape": "1-sqrt"},
    {"kind": "gpt1_cosine"},
]


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


def test_the_cosine_is_a_cosine_from_the_end_of_the_warmup():
    """Against decimal arithmetic apart from ours: 1 + cos πx at x = 0, 0.1, 0.25, 0.5 and 0.9."""
    expected = [2.0, 1.9510565162951536, 1.7071067811865475, 1.0, 0.04894348370484647, 0.0]
    found = [
        at(tokens, warmup_tokens=200, final_lr_fraction=0.0) for tokens in (200, 280, 400, 600, 920, 1000)
    ]

    assert found == pytest.approx(expected, rel=1e-13, abs=1e-15)


def test_wsd_stays_at_the_peak_and_falls_over_its_last_tokens():
    values = {"kind": "wsd", "warmup_tokens": 100, "decay_tokens": 200, "final_lr_fraction": 0.0}

    assert [at(tokens, **values) for tokens in (100, 500, 800, 900, 1000)] == pytest.approx([2, 2, 2, 1, 0])


def test_wsd_falls_as_one_minus_the_root_where_that_is_asked():
    values = {"kind": "wsd", "decay_tokens": 200, "decay_shape": "1-sqrt", "final_lr_fraction": 0.0}
    expected = [2, 2, 1.367544467966324, 1, 0.585786437626905, 0]  # 2 · (1 - √x), x = 0.1, 0.25 and 0.5

    assert [at(tokens, **values) for tokens in (0, 800, 820, 850, 900, 1000)] == pytest.approx(expected)


def test_a_branch_decays_from_the_rate_that_its_trunk_has_there():
    trunk = Schedule(kind="wsd", warmup_tokens=100, decay_tokens=0)
    branch = Schedule(kind="wsd", warmup_tokens=100, decay_tokens=50)

    assert trunk.at(400, 1000, 2.0) == branch.at(400, 450, 2.0) == 2.0
    assert branch.at(425, 450, 2.0) == pytest.approx(2 * 0.55)


def test_gpt1s_cosine_runs_over_the_whole_horizon_and_steps_down_where_the_warmup_ends():
    """Its values, are of decimal arithmetic apart from ours: 2.5e-4 · (1 + cos πx) / 2."""
    horizon, warmup = 10_000_000, 1_000_000
    schedule = Schedule(kind="gpt1_cosine", warmup_tokens=warmup, final_lr_fraction=0)
    expected = {
        0: 0,
        500_000: 1.25e-4,
        1_000_000: 2.5e-4,
        1_000_001: 2.4388205240181934e-4,
        2_500_000: 2.133883476483184e-4,
        5_000_000: 1.25e-4,
        9_000_000: 6.117935463105803e-6,
        10_000_000: 0,
    }

    found = {tokens: schedule.at(tokens, horizon, 2.5e-4) for tokens in expected}
    assert found == pytest.approx(expected, rel=1e-13, abs=1e-19)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_shape_ever_rises_after_the_warmup_or_leaves_its_bounds(shape):
    rates = [at(tokens, warmup_tokens=100, **shape) for tokens in range(100, 1100, 7)]

    assert all(0.2 - 1e-12 <= later <= earlier <= 2 for earlier, later in zip(rates, rates[1:], strict=False))


@pytest.mark.parametrize("values", [{"kind": "cosine", "decay_tokens": 5}, {"kind": "wsd"}])
def test_decay_tokens_belong_to_wsd_alone(values):
    with pytest.raises(ConfigError, match="decay_tokens is needed by kind: wsd and by no other"):
        validate(Schedule, values, "test")


def test_a_shape_of_the_decay_belongs_to_wsd_alone():
    with pytest.raises(ConfigError, match="decay_shape belongs to kind: wsd, but kind is linear"):
        validate(Schedule, {"kind": "linear", "decay_shape": "linear"}, "test")
