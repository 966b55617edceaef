"""Speed between rows, and goodput over a run's whole life."""

from __future__ import annotations

import math
import time

import pytest

from pipeline.trainer.engine import StepStats
from pipeline.trainer.hardware import Peak
from pipeline.trainer.meter import Meter, Past
from pipeline.trainer.steps import Step


def taken(number: int, seconds: float = 1.0, data_seconds: float = 0.0, applied: bool = True) -> Step:
    stats = StepStats(loss=2.0, grad_norm=1.0 if applied else math.nan, targets=8, applied=applied)
    return Step(number, number * 100, 0.1, stats, seconds=seconds, data_seconds=data_seconds, is_last=False)


def meter(begun_ago: float = 0.0, **changes) -> Meter:
    values = {"flops_per_token": 6, "tokens_per_step": 100, "peak": None, "devices": 1, **changes}
    return Meter(begun=time.monotonic() - begun_ago, **values)


def test_speed_is_of_the_steps_since_the_last_row():
    found = meter()
    for number, seconds in enumerate((1.0, 3.0), 1):
        found.add(taken(number, seconds, data_seconds=0.5))
    first = found.read()
    found.add(taken(3, 0.5))
    second = found.read()

    assert (first["tokens_per_second"], first["step_seconds"], first["data_seconds"]) == (50, 2, 0.5)
    assert (second["tokens_per_second"], second["data_seconds"]) == (200, 0)
    assert first["mfu"] is None


def test_mfu_is_of_all_devices_peak():
    found = meter(peak=Peak(flops=1000.0, name="a GPU"), devices=3)
    found.add(taken(1, seconds=0.5))

    assert found.read()["mfu"] == pytest.approx(6 * 100 / 0.5 / 3000)


def test_goodput_is_what_made_the_result_over_all_the_time():
    found = meter(begun_ago=20)
    found.add(taken(1, seconds=5))  # compiles
    found.add(taken(2, seconds=2, data_seconds=0.5))
    found.add(taken(3, seconds=2, applied=False))  # skipped
    found.add(taken(4, seconds=1))
    row = found.read()

    assert row["elapsed_seconds"] == pytest.approx(20, abs=0.5)
    assert row["goodput"] == pytest.approx(2.5 / 20, rel=0.05)


def test_steps_that_a_rollback_takes_again_count_once():
    found = meter(begun_ago=100)
    for number in (1, 2, 3, 4, 5, 3, 4):  # back to after step 2
        found.add(taken(number, seconds=10))

    assert found.read()["goodput"] == pytest.approx(30 / 100, rel=0.05)
    found.add(taken(1, seconds=10))  # back to before this attempt
    assert found.read()["goodput"] == 0


def test_goodput_goes_on_where_earlier_attempts_left_it():
    kept = [
        {"step": 1, "goodput": 0.0, "elapsed_seconds": 5.0},
        {"step": 4, "goodput": 0.8, "elapsed_seconds": 50.0},
        {"step": 4, "event": "checkpoint", "seconds": 1.0},
    ]
    lost = [{"step": 9, "goodput": 0.9, "elapsed_seconds": 90.0}]
    past = Past.of(kept, lost)
    found = meter(begun_ago=10)
    found.go_on_from(past)
    found.add(taken(5, seconds=4))
    found.add(taken(6, seconds=5))

    assert past == Past(productive_seconds=40.0, elapsed_seconds=90.0, last_step=9)
    assert found.read()["goodput"] == pytest.approx((40 + 5) / (90 + 10), rel=0.05)


def test_a_run_without_rows_has_no_past():
    assert Past.of([], []) == Past(0.0, 0.0, 0)


def test_people_see_tokens_once():
    found = meter()
    found.add(taken(1))
    found.add(taken(2))

    assert [found.unseen_tokens(), found.unseen_tokens()] == [200, 0]
    assert found.tell() == "100 tokens/s"
    assert found.is_due(0.0)
    assert not found.is_due(60.0)
