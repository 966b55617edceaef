"""What the rows of a whole run say of its time, before and after a restart."""

from __future__ import annotations

import shutil

import pytest

from pipeline.config import validate
from pipeline.formats.checkpoint import Meta
from pipeline.formats.run import Run
from pipeline.train import stage
from pipeline.train.stage import Config


def run(values: dict, **changes) -> Run:
    config = validate(Config, {**values, **changes}, "test")
    stage.run(config, stage.plan(config))
    return Run(config.out)


def test_time_and_goodput_go_on_after_a_restart_and_what_was_lost_is_lost(values):
    found = run(values)
    before = [row for row in found.rows() if "goodput" in row]
    for checkpoint in found.checkpoints():  # as a kill after step 4 would have left it
        if Meta.read(checkpoint).step > 4:
            shutil.rmtree(checkpoint)
    run(values)
    after = [row for row in found.rows() if "goodput" in row]

    assert all(0 <= row["goodput"] < 1 for row in after)
    assert before[0]["goodput"] == 0 < before[-1]["goodput"]
    assert after[:4] == before[:4]
    assert [row["step"] for row in after] == [1, 2, 3, 4, 5, 6]
    assert after[4]["elapsed_seconds"] > before[5]["elapsed_seconds"]
    productive = [row["goodput"] * row["elapsed_seconds"] for row in (before[3], after[4])]
    assert productive[1] == pytest.approx(productive[0])  # the first step of an attempt only warms up


def test_tensorboard_gets_the_rows_and_samples_of_a_run(values):
    pytest.importorskip("tensorboard")
    found = run(values, trackers=[{"kind": "tensorboard"}], samples={"every_steps": 3, "tokens": 3})
    (file,) = (found.directory / "tensorboard").glob("events.*")

    assert all(name in file.read_bytes() for name in (b"goodput", b"validation_loss", b"sample/0"))
