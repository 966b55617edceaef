"""Bad windows in the data: steps skipped, runs gone back, and the same end after a kill in between."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import validate
from pipeline.errors import StageError, Stopped
from pipeline.formats.checkpoint import Meta
from pipeline.formats.run import Run
from pipeline.train import stage
from pipeline.train.rollback import position, with_skipped
from pipeline.train.sampler import Order
from pipeline.train.stage import Config
from pipeline.trainer.engine import StepStats
from pipeline.trainer.spikes import Spikes, Watch
from tests.pipeline.formats.editing import edit
from tests.pipeline.train.faults import Killed, faulty, windows_of


@pytest.fixture
def twelve(values) -> Config:
    """Twelve steps of four windows; three bad ones in a row are too many."""
    changes = {
        "train_tokens": 12 * 64,
        "validation": {"every_steps": 0, "tokens": 64},
        "spikes": {"rollback_after": 3, "max_rollbacks": 2},
    }
    return validate(Config, {**values, **changes}, "test")


def go(config: Config, monkeypatch, objective: type) -> Run:
    monkeypatch.setattr("pipeline.train.objective.NextToken", objective)
    stage.run(config, stage.plan(config))
    return Run(config.out)


def at(config: Config, out: Path) -> Config:
    return config.model_copy(update={"out": out})


def curve(run: Run) -> list[tuple]:
    return [(row["step"], row["loss"], row["grad_norm"]) for row in run.rows() if "lr" in row]


def weights(run: Run) -> dict[str, str]:
    return {
        name: found
        for name, found in Meta.read(run.checkpoints()[-1]).blake3.items()
        if name.endswith(".safetensors")
    }


def events(run: Run, name: str) -> list[dict]:
    return [row for row in run.rows() if row.get("event") == name]


def test_a_window_that_gives_nan_costs_its_step_alone(twelve, monkeypatch):
    run = go(twelve, monkeypatch, faulty(windows_of(twelve, [5, 6, 9])))

    assert [(row["step"], row["reason"]) for row in events(run, "skipped step")] == [
        (5, "not finite"),
        (6, "not finite"),
        (9, "not finite"),
    ]
    assert [row["windows"] for row in events(run, "skipped step")] == [[16, 20], [20, 24], [32, 36]]
    assert [loss is None for _, loss, _ in curve(run)] == [step in (5, 6, 9) for step in range(1, 13)]
    assert not events(run, "rollback")
    assert "step-00000006" not in [path.name for path in run.checkpoints()], "none is saved inside a streak"


def test_a_streak_of_bad_windows_sends_the_run_back_and_past_them(twelve, monkeypatch, tmp_path):
    run = go(twelve, monkeypatch, faulty(windows_of(twelve, [6, 7, 8])))
    (rollback,) = events(run, "rollback")
    meta = Meta.read(run.checkpoints()[-1])

    assert rollback["step"] == 4
    assert (rollback["from_step"], rollback["skipped_steps"], rollback["skipped_windows"]) == (8, 3, [20, 32])
    assert [step for step, _, _ in curve(run)] == list(range(1, 13))
    assert all(loss is not None for _, loss, _ in curve(run))
    assert (meta.skipped, meta.watch["rollbacks"], meta.complete) == (((20, 32),), 1, True)
    moved = [
        json.loads(line) for line in (run.directory / "metrics.attempt-000.jsonl").read_text().splitlines()
    ]
    assert {row["step"] for row in moved} == {5, 6, 7, 8}
    assert [row["step"] for row in moved if row.get("event") == "skipped step"] == [6, 7, 8]

    # The same as a healthy run that is told at step 4 which windows to leave out.
    at_once = twelve.checkpoint.model_copy(update={"asynchronous": False})
    told = at(twelve, tmp_path / "told").model_copy(update={"checkpoint": at_once})
    with pytest.raises(Killed):
        go(told, monkeypatch, faulty([], kill_at_call=2 * 5 + 1))
    edit(Run(told.out).checkpoints()[-1] / "meta.json", step=4, skipped=[[20, 32]])
    healthy = go(told, monkeypatch, faulty([]))
    assert curve(healthy) == curve(run)
    assert weights(healthy) == weights(run)


@pytest.mark.parametrize("call", [11, 17, 20])
def test_a_run_killed_around_a_rollback_ends_bitwise_where_it_would_have(twelve, monkeypatch, tmp_path, call):
    bad = windows_of(twelve, [6, 7, 8])
    whole = go(at(twelve, tmp_path / "whole"), monkeypatch, faulty(bad))
    with pytest.raises(Killed):
        go(twelve, monkeypatch, faulty(bad, kill_at_call=call))
    killed = go(twelve, monkeypatch, faulty(bad))

    assert curve(killed) == curve(whole)
    assert weights(killed) == weights(whole)
    assert len(events(killed, "rollback")) == 1
    assert Meta.read(killed.checkpoints()[-1]).skipped == ((20, 32),)


def test_a_stop_inside_a_streak_is_saved_but_never_gone_back_to(twelve, monkeypatch, tmp_path):
    bad = windows_of(twelve, [6, 7, 8])
    whole = go(at(twelve, tmp_path / "whole"), monkeypatch, faulty(bad))

    class Asks(faulty(bad)):
        def sums(self, model, batch):
            found = super().sums(model, batch)
            if type(self).calls == 2 * 7 and not Run(twelve.out).stop_requested():
                Run(twelve.out).request_stop()
            return found

    monkeypatch.setattr("pipeline.trainer.stop.FILE_POLL_SECONDS", 0.0)
    with pytest.raises(Stopped, match="after step 7"):
        go(twelve, monkeypatch, Asks)
    assert Meta.read(Run(twelve.out).checkpoints()[-1]).watch["skipped_in_a_row"] == 2
    run = go(twelve, monkeypatch, faulty(bad))

    assert curve(run) == curve(whole)
    assert weights(run) == weights(whole)
    assert events(run, "rollback")[0]["step"] == 4


def test_bad_windows_behind_bad_windows_are_left_out_too(twelve, monkeypatch):
    # After the first rollback the steps 6, 7 and 8 take what 9, 10 and 11 would have taken.
    run = go(twelve, monkeypatch, faulty(windows_of(twelve, [6, 7, 8, 9, 10, 11])))

    assert [row["skipped_windows"] for row in events(run, "rollback")] == [[20, 32], [32, 44]]
    assert Meta.read(run.checkpoints()[-1]).skipped == ((20, 32), (32, 44))
    assert all(loss is not None for _, loss, _ in curve(run))


def test_a_run_that_rollbacks_do_not_help_ends_and_says_what_to_do(twelve, monkeypatch):
    with pytest.raises(StageError, match=r"2 rollbacks did not help.*step-00000004 is good.*what=state"):
        go(twelve, monkeypatch, faulty(windows_of(twelve, list(range(6, 25)))))
    assert Run(twelve.out).attempts()[-1]["ended"]["reason"] == "failed"


def test_a_streak_before_the_first_checkpoint_has_nowhere_to_go_back_to(twelve, monkeypatch):
    with pytest.raises(StageError, match=r"last 3 steps up to step 3 .*no checkpoint.*lower optim\.lr"):
        go(twelve, monkeypatch, faulty(windows_of(twelve, [1, 2, 3])))


def test_a_streak_that_ends_with_the_last_step_is_gone_back_from(twelve, monkeypatch):
    run = go(twelve, monkeypatch, faulty(windows_of(twelve, [10, 11, 12])))

    assert events(run, "rollback")[0]["from_step"] == 12
    assert run.finished
    assert all(loss is not None for _, loss, _ in curve(run))


def test_a_spike_is_skipped_by_its_norm_and_told_as_one(twelve, monkeypatch):
    config = twelve.model_copy(update={"spikes": Spikes(sigma=6, window=6)})
    run = go(config, monkeypatch, faulty(windows_of(config, [8]), factor=1e4))
    (spike,) = events(run, "skipped step")

    assert (spike["step"], spike["reason"]) == (8, "spike")
    assert spike["grad_norm"] > 100
    assert curve(run)[7][2] == spike["grad_norm"]


def test_the_watch_resumes_as_it_was(twelve, monkeypatch, tmp_path):
    config = twelve.model_copy(update={"spikes": Spikes(sigma=1, window=4)})
    whole = go(at(config, tmp_path / "whole"), monkeypatch, faulty([]))
    with pytest.raises(Killed):
        go(config, monkeypatch, faulty([], kill_at_call=2 * 9))
    killed = go(config, monkeypatch, faulty([]))

    assert events(whole, "skipped step"), "one standard deviation is passed now and then"
    assert curve(killed) == curve(whole)
    assert weights(killed) == weights(whole)


def test_the_limit_is_the_mean_and_so_many_deviations_of_the_last_applied_norms():
    watch = Watch(Spikes(sigma=2, window=4))
    for norm, applied in ((9.0, True), (1.0, True), (50.0, False), (2.0, True), (3.0, True), (4.0, True)):
        watch.see(StepStats(1.0, norm, 1, applied))

    assert watch.limit() == pytest.approx(2.5 + 2 * math.sqrt(5 / 3))
    assert Watch(Spikes(sigma=2, window=4), watch.memory()).limit() == watch.limit()
    assert Watch(Spikes(sigma=2, window=4)).limit() == math.inf
    assert Watch(Spikes(), {"norms": [1.0] * 9}).limit() == math.inf


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=5))
@settings(max_examples=30, deadline=None)
def test_skipped_intervals_leave_out_exactly_the_windows_they_are_made_for(streaks):
    order, skipped = Order(500, "data", 8, 0), ()
    kept = order.at(np.arange(400)).tolist()
    for start, length in streaks:
        interval, skipped = with_skipped(skipped, start, start + length)
        assert interval in skipped
        del kept[start : start + length]

    assert [int(window) for step in range(10) for window in order.step(step, 10, skipped)] == kept[:100]
    assert [position(number, skipped) for number in range(100)] == sorted(
        {position(number, skipped) for number in range(100)}
    )
