"""Whole small runs: finished, interrupted, damaged, stopped, refused; here, or killed in another process."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from pipeline.config import validate
from pipeline.errors import ConfigError, FormatError, StageError, Stopped
from pipeline.formats.checkpoint import Meta
from pipeline.formats.run import Run, writing
from pipeline.train import stage
from pipeline.train.stage import Config
from tests.pipeline.formats.editing import edit
from tests.pipeline.train.faults import stopped_in_validation

STEP_KEYS = {"step", "tokens", "loss", "lr", "grad_norm", "tokens_per_second", "mfu", "memory_bytes"}


def run(values: dict, **changes) -> Run:
    config = validate(Config, {**values, **changes}, "test")
    stage.run(config, stage.plan(config))
    return Run(config.out)


def curve(found: Run) -> list[tuple]:
    return [(row["step"], row["loss"], row["grad_norm"], row["lr"]) for row in found.rows() if "loss" in row]


def validations(found: Run) -> list[tuple]:
    rows = [row for row in found.rows() if "validation_loss" in row]
    return [(row["step"], row["tokens"], row["validation_loss"], row["bits_per_byte"]) for row in rows]


def weights(found: Run) -> dict[str, str]:
    sums = Meta.read(found.checkpoints()[-1]).blake3
    return {name: sums[name] for name in sums if name.endswith(".safetensors")}


def drop_checkpoints_after(found: Run, step: int) -> None:
    """Bring a run to where a kill after a checkpoint would have left it."""
    for checkpoint in found.checkpoints():
        if Meta.read(checkpoint).step > step:
            shutil.rmtree(checkpoint)


@pytest.fixture
def undisturbed(values, tmp_path) -> Run:
    return run(values, out=str(tmp_path / "undisturbed"))


def test_a_run_leaves_what_the_format_promises(undisturbed, dataset):
    rows = undisturbed.rows()
    steps = [row for row in rows if "loss" in row]
    validations = [row for row in rows if "validation_loss" in row]
    checkpoint = undisturbed.checkpoints()[-1]
    (attempt,) = undisturbed.attempts()

    assert undisturbed.finished
    assert [row["step"] for row in steps] == [1, 2, 3, 4, 5, 6]
    assert all(row.keys() >= STEP_KEYS and row["mfu"] > 0 for row in steps)
    assert [row["step"] for row in validations] == [2, 4, 6]
    assert all(row["bits_per_byte"] > 0 and row["validation_stderr"] > 0 for row in validations)
    assert [path.name for path in undisturbed.checkpoints()] == [f"step-{step:08d}" for step in (2, 4, 6)]
    assert {path.name for path in checkpoint.iterdir()} == {"model", "state", "meta.json"}
    assert json.loads(undisturbed.exit.read_text())["exit_code"] == 0
    assert attempt["ended"]["reason"] == "finished"
    assert attempt["plan"]["steps"] == 6
    assert attempt["first_step"] == 1
    assert steps[-1]["loss"] < steps[0]["loss"]


def test_bits_per_byte_are_the_losses_bits_over_the_texts_bytes(undisturbed, dataset):
    import numpy as np

    from model.tokenizer import load
    from pipeline.formats.shards import TokenShard

    row = next(row for row in reversed(undisturbed.rows()) if "validation_loss" in row)
    tokens = TokenShard(dataset / "shards" / "validation-00000.ds", "uint16").tokens[
        1 : row["validation_tokens"] + 1
    ]
    text_bytes = len(load(dataset).decode([int(token) for token in tokens if token != 299]).encode())
    bits = row["validation_loss"] * row["validation_tokens"] / np.log(2)

    assert row["bits_per_byte"] == pytest.approx(bits / text_bytes)


def test_a_run_interrupted_in_the_middle_ends_bitwise_where_it_would_have(values, undisturbed):
    found = run(values)
    drop_checkpoints_after(found, 4)
    run(values)

    assert found.finished
    assert curve(found) == curve(undisturbed)
    assert weights(found) == weights(undisturbed)
    moved = (found.directory / "metrics.attempt-000.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in moved] == [5, 6, 6, 6]


@pytest.mark.parametrize("fault", ["flip", "truncate", "remove", "meta"])
def test_a_damaged_checkpoint_is_named_and_the_newest_whole_one_used(
    values, undisturbed, fault, caplog, monkeypatch
):
    found = run(values)
    newest = found.checkpoints()[-1]
    victim = newest / ("meta.json" if fault == "meta" else "state/tensors-00000-of-00001.safetensors")
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    if fault == "remove":
        victim.unlink()
    else:
        victim.write_bytes(bytes(content[: len(content) // 2] if fault in ("truncate", "meta") else content))
    monkeypatch.setattr(logging.getLogger("loglinear"), "propagate", True)
    if fault != "meta":  # otherwise a finished run returns before it looks into its files
        edit(newest / "meta.json", complete=False)
    run(values)

    assert f"{newest} is damaged" in caplog.text
    assert str(victim) in caplog.text
    assert found.finished
    assert weights(found) == weights(undisturbed)
    assert (newest.parent / "damaged-step-00000006.attempt-001").is_dir()


def test_a_finished_run_returns_at_once_without_torch(values, undisturbed):
    config = undisturbed.directory / "config.yaml"
    code = "import sys, time; from pathlib import Path; from pipeline.config import load\n"
    code += "from pipeline.train import stage\n"
    code += f"config = load(stage.Config, Path({str(config)!r})); stage.run(config, stage.plan(config))\n"
    code += "assert 'torch' not in sys.modules"
    before = undisturbed.metrics.read_bytes()
    subprocess.run([sys.executable, "-c", code], check=True)

    assert undisturbed.metrics.read_bytes() == before
    assert len(undisturbed.attempts()) == 1


def test_a_changed_identity_is_refused_with_the_differences(values, undisturbed, dataset, tmp_path):
    with pytest.raises(ConfigError) as refusal:
        run(values, out=str(undisturbed.directory), optim={"lr": 5e-3}, seed=1)

    assert "optim.lr: 0.01 -> 0.005" in str(refusal.value)
    assert "seed: 0 -> 1" in str(refusal.value)
    other = shutil.copytree(dataset, tmp_path / "other")
    edit(other / "manifest.json", tokenizer_fingerprint="another")
    with pytest.raises(ConfigError, match=r"data: '\w+' -> '\w+' \(hash of the manifest\)"):
        run(values, out=str(undisturbed.directory), data=str(other))


def test_changed_execution_is_accepted_and_the_result_the_same(values, undisturbed):
    found = run(values)
    drop_checkpoints_after(found, 2)
    run(values, micro_batch_sequences=4, log_every_steps=1, checkpoint={"every_steps": 0, "keep": 1})

    assert [row[0] for row in curve(found)] == [1, 2, 3, 4, 5, 6]
    assert len(found.checkpoints()) == 1
    assert yaml.safe_load(found.config.read_text())["micro_batch_sequences"] == 4


def test_a_damaged_shard_is_named_before_training_on_it(values, dataset, tmp_path):
    damaged = shutil.copytree(dataset, tmp_path / "damaged")
    shard = damaged / "shards" / "train-00001.ds"
    content = bytearray(shard.read_bytes())
    content[7] ^= 1
    shard.write_bytes(content)

    with pytest.raises(FormatError, match=r"train-00001\.ds: sha256 .*; restore or rebuild"):
        run(values, data=str(damaged))


def test_numbers_that_do_not_fit_together_are_all_told_at_once(values):
    with pytest.raises(ConfigError) as refusal:
        run(
            values,
            sequence_tokens=32,
            schedule={"warmup_tokens": 9999},
            model={**values["model"], "vocab_size": 299},
        )

    assert len(refusal.value.problems) == 3
    with pytest.raises(ConfigError, match=r"must be a multiple of sequence_tokens \(16\); the nearest is 64"):
        run(values, global_batch_tokens=70)


def test_a_second_writer_is_refused_and_told_who_the_first_is(values, config):
    with (
        writing(config.out),
        pytest.raises(StageError, match=f"process {os.getpid()} on .* is writing this run"),
    ):
        run(values)


def test_a_step_that_is_not_finite_is_skipped_counted_and_null(values, monkeypatch):
    found = run(values, optim={"lr": 1e30, "grad_clip": 0.0})
    lines = found.metrics.read_text()
    skipped = [row for row in found.rows() if row.get("event") == "skipped step"]

    assert skipped
    assert "NaN" not in lines
    assert any(row["grad_norm"] is None for row in found.rows() if "grad_norm" in row)
    assert any(row.get("event") == "non-finite" for row in found.rows())


def start(values: dict, folder: Path) -> subprocess.Popen:
    """Start a long run in a process of its own and return once it has written a checkpoint."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "train", str(path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while (
        not Run(Path(values["out"])).checkpoints() and time.monotonic() < deadline and process.poll() is None
    ):
        time.sleep(0.02)
    assert process.poll() is None, process.stderr.read()
    return process


@pytest.fixture
def long_run(values) -> dict:
    return {**values, "train_tokens": 160 * 64, "checkpoint": {"every_steps": 20, "keep": 2},
            "validation": {"every_steps": 0, "tokens": 256}}  # fmt: skip


def test_a_run_killed_at_any_moment_ends_bitwise_where_it_would_have(long_run, tmp_path):
    process = start(long_run, tmp_path)
    process.kill()
    process.communicate()
    whole = run(long_run, out=str(tmp_path / "whole"))
    found = run(long_run)

    assert curve(found) == curve(whole)
    assert weights(found) == weights(whole)
    assert found.attempts()[0]["ended"] is None


@pytest.mark.parametrize("how", ["SIGTERM", "SIGUSR1", "stop file"])
def test_a_run_asked_to_stop_saves_leaves_word_and_goes_on(long_run, tmp_path, how):
    long_run["train_tokens"] = 100_000 * 64
    process = start(long_run, tmp_path)
    found = Run(Path(long_run["out"]))
    if how == "stop file":
        found.request_stop()
    else:
        process.send_signal(signal.Signals[how])
    error = process.communicate(timeout=60)[1].decode()
    left = json.loads(found.exit.read_text())

    assert process.returncode == 75
    assert f"stopped ({how})" in error
    assert left["exit_code"] == 75
    assert Meta.read(found.checkpoints()[-1]).step == left["step"]
    assert found.attempts()[0]["ended"]["because"] == how
    assert not found.stop_requested()


def test_a_stop_asked_for_at_the_start_raises_before_the_first_step(values):
    config = validate(Config, values, "test")
    config.out.mkdir(parents=True)
    config.out.joinpath("config.yaml").write_text(yaml.safe_dump(values))
    stop_file = config.out / "stop"
    stop_file.touch()
    os.utime(stop_file, (time.time() + 5, time.time() + 5))

    with pytest.raises(Stopped, match=r"stopped \(stop file\) after step 0"):
        stage.run(config, stage.plan(config))
    assert not stop_file.exists()


@pytest.mark.parametrize("stops", [(3,), (3, 3)], ids=["once", "and while it is made up for"])
def test_a_validation_that_a_stop_broke_off_is_made_up_for(values, undisturbed, monkeypatch, stops):
    found = Run(Path(values["out"]))
    for batch in stops:
        with monkeypatch.context() as patched:
            objective = stopped_in_validation(found, batch)
            patched.setattr("pipeline.train.objective.NextToken", objective)
            with pytest.raises(Stopped, match="after step 2;"):
                run(values)
        assert validations(found) == []
    run(values)

    assert validations(found) == validations(undisturbed)
    assert curve(found) == curve(undisturbed)
    assert weights(found) == weights(undisturbed)


def test_a_validation_that_was_saved_or_was_another_runs_is_not_made_up_for(values, undisturbed, tmp_path):
    trunk = undisturbed.checkpoints()[0]
    changes = {"init": {"checkpoint": str(trunk), "what": "state"}, "checkpoint": {"every_steps": 0}}
    branch = run(values, **changes)
    drop_checkpoints_after(undisturbed, 4)
    before = validations(undisturbed)
    run(values, out=str(undisturbed.directory))

    assert validations(branch) == before[1:]
    assert validations(undisturbed) == before


@pytest.mark.parametrize("lines", [1, 7, 40])
def test_a_configuration_that_lost_its_end_is_told_or_refused(values, lines, caplog, monkeypatch):
    found = run(values)
    drop_checkpoints_after(found, 4)
    whole = found.config.read_text().splitlines(keepends=True)
    found.config.write_text("".join(whole[:-lines]))
    monkeypatch.setattr(logging.getLogger("loglinear"), "propagate", True)
    caplog.set_level(logging.INFO, "loglinear")
    try:
        run(values)
    except ConfigError as refusal:
        assert str(found.config) in str(refusal)
    else:
        assert f"{found.config}: changed, which does not change the result: " in caplog.text
        assert found.config.read_text() == "".join(whole)


def test_a_dry_plan_tells_both_names_and_all_batch_arithmetic(config):
    plan = stage.plan(config)
    told = stage.describe(config, plan)

    assert (plan.steps, plan.sequences_per_step, plan.micro_batches, plan.micro_batch_sequences) == (
        6,
        4,
        2,
        2,
    )
    assert plan.epochs == pytest.approx(24 / plan.windows)
    assert f"{plan.parameters:,} parameters" in told
    assert "6N_matmul + 6LdT" in told


def test_a_plan_needs_no_dataset(values):
    config = validate(Config, {**values, "data": "nowhere"}, "test")

    assert "the dataset is not there yet" in stage.describe(config, stage.plan(config))
    with pytest.raises(FormatError, match="build it with `loglinear data CONFIG`"):
        stage.run(config, stage.plan(config))
