"""Runs that start from a parent: a decay branched from a trunk, and weights of ours or of others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from pipeline.config import validate
from pipeline.errors import ConfigError, FormatError
from pipeline.formats.checkpoint import Meta
from pipeline.formats.run import Run
from pipeline.train import stage
from pipeline.train.stage import Config
from tests.pipeline.formats.editing import edit

WSD = {"kind": "wsd", "warmup_tokens": 128, "final_lr_fraction": 0.0}


def make(values: dict, **changes) -> Config:
    return validate(Config, {**values, **changes}, "test")


def run(values: dict, **changes) -> Run:
    config = make(values, **changes)
    stage.run(config, stage.plan(config))
    return Run(config.out)


def curve(found: Run) -> list[tuple]:
    return [(row["step"], row["loss"], row["grad_norm"], row["lr"]) for row in found.rows() if "lr" in row]


def weights(found: Run) -> dict[str, str]:
    sums = Meta.read(found.checkpoints()[-1]).blake3
    return {name: sums[name] for name in sums if name.endswith(".safetensors")}


@pytest.fixture
def trunk(values, tmp_path) -> Run:
    """Four steps at a constant rate."""
    return run(values, out=str(tmp_path / "trunk"), train_tokens=4 * 64, schedule={**WSD, "decay_tokens": 0})


@pytest.fixture
def decay(values, trunk) -> dict:
    """Two more steps, over which the rate falls to nothing."""
    init = {"checkpoint": str(trunk.directory), "what": "state"}
    return {**values, "schedule": {**WSD, "decay_tokens": 128}, "init": init}


def test_a_decay_branched_from_a_trunk_is_bitwise_the_run_that_was_never_cut(values, trunk, decay, tmp_path):
    branch = run(decay)
    whole = run(values, out=str(tmp_path / "whole"), schedule=decay["schedule"])

    assert curve(trunk) + curve(branch) == curve(whole)
    assert weights(branch) == weights(whole)
    assert branch.attempts()[0]["first_step"] == 5
    assert branch.attempts()[0]["plan"]["parent"]["step"] == 4
    (event,) = [row for row in branch.rows() if row.get("event") == "branched"]
    assert event["checkpoint"].endswith("step-00000004")


def test_a_branch_is_its_first_parent_whatever_the_trunk_does_next(values, trunk, decay):
    branch = run(decay)
    for checkpoint in branch.checkpoints():
        shutil.rmtree(checkpoint)
    before = curve(branch)
    run(values, out=str(trunk.directory), train_tokens=4 * 64, schedule={**WSD, "decay_tokens": 0})
    newer = trunk.checkpoints()[-1].with_name("step-00000009")
    shutil.copytree(trunk.checkpoints()[-1], newer)
    edit(newer / "meta.json", step=9)
    run(decay)

    assert curve(branch) == before


def test_a_changed_parent_in_the_same_place_is_refused(decay, trunk):
    run(decay)
    edit(trunk.checkpoints()[-1] / "meta.json", epoch=5)

    with pytest.raises(ConfigError, match=r"holds another run.*\n.*init.checkpoint: '\w{16}' .* -> '\w{16}'"):
        run(decay)


def test_a_branch_with_a_checkpoint_of_its_own_outlives_its_trunk(decay, trunk):
    branch = run(decay, checkpoint={"every_steps": 1, "keep": 5})
    shutil.rmtree(branch.checkpoints()[-1])
    shutil.rmtree(trunk.directory)
    run(decay)

    assert branch.finished


def test_a_state_of_another_run_is_refused_with_all_differences(decay, values):
    changed = {
        "seed": 3,
        "global_batch_tokens": 128,
        "sequence_tokens": 8,
        "model": {**values["model"], "n_layer": 2},
        "train_tokens": 256,
    }
    with pytest.raises(ConfigError) as refusal:
        stage.plan(make(decay, **changed))

    told = str(refusal.value)
    assert len(refusal.value.problems) == 5
    for line in (
        "seed: 0 -> 3",
        "global_batch_tokens: 64 -> 128",
        "sequence_tokens: 16 -> 8",
        "model.n_layer: 1 -> 2",
        "train_tokens: 256, but",
    ):
        assert line in told


def test_a_state_from_a_streak_of_bad_steps_is_refused(decay, trunk):
    path = trunk.checkpoints()[-1] / "meta.json"
    edit(path, watch={**json.loads(path.read_text())["watch"], "skipped_in_a_row": 2})

    with pytest.raises(ConfigError, match="within a streak of skipped steps"):
        stage.plan(make(decay))


def test_a_state_on_other_data_is_refused(decay, dataset, tmp_path):
    other = shutil.copytree(dataset, tmp_path / "other")
    edit(other / "manifest.json", tokenizer_fingerprint="another")

    with pytest.raises(ConfigError, match=r"is of another run: data: '\w+' -> '\w+'"):
        stage.plan(make(decay, data=str(other)))


def test_weights_start_a_run_at_step_0_from_a_checkpoint_or_a_model_folder(values, trunk, tmp_path):
    folder = shutil.copytree(trunk.checkpoints()[-1] / "model", tmp_path / "hugging-face")
    small = {**values, "train_tokens": 64, "schedule": {}, "validation": {"every_steps": 0, "tokens": 256}}
    runs = [
        run(small, out=str(tmp_path / name), init={"checkpoint": str(place), "what": "weights"}, seed=5)
        for name, place in (("a", trunk.directory), ("b", trunk.checkpoints()[-1]), ("c", folder))
    ]
    plain = run(small, out=str(tmp_path / "plain"), seed=5)

    assert curve(runs[0]) == curve(runs[1]) == curve(runs[2]) != curve(plain)
    assert curve(runs[0])[0][0] == 1
    trained = [row["loss"] for row in trunk.rows() if "lr" in row][-1]
    assert curve(runs[0])[0][1] == pytest.approx(trained, abs=0.7)
    before = load_file(folder / "model.safetensors")["wte.weight"]
    after = load_file(runs[2].checkpoints()[-1] / "model" / "model.safetensors")["wte.weight"]
    assert (before - after).abs().max() <= 0.011, "one step of lr 0.01 away from the parent"
    assert runs[0].attempts()[0]["plan"]["config_hash"] != plain.attempts()[0]["plan"]["config_hash"]


def test_a_model_of_another_shape_is_refused_with_the_difference(values, trunk):
    with pytest.raises(ConfigError, match=r"another model: model.n_layer: 1 -> 2"):
        run(
            values,
            model={**values["model"], "n_layer": 2},
            init={"checkpoint": str(trunk.directory), "what": "weights"},
        )


def test_a_folder_without_a_model_and_a_place_without_a_folder_are_named(values, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match="empty holds no checkpoint, run or model"):
        run(values, init={"checkpoint": str(tmp_path / "empty"), "what": "weights"})
    config = make(values, init={"checkpoint": "nowhere", "what": "weights"})
    assert "the parent is not there yet" in stage.describe(config, stage.plan(config))
    with pytest.raises(FormatError, match="nowhere: no checkpoint, run or model is here"):
        stage.run(config, stage.plan(config))


def test_a_model_folder_has_no_training_state(values, trunk):
    model = trunk.checkpoints()[-1] / "model"
    with pytest.raises(ConfigError, match="has no training state; use what: weights"):
        run(values, init={"checkpoint": str(model), "what": "state"})


def test_a_plan_tells_where_the_run_starts(decay, trunk):
    config = make(decay)

    assert f"state of {trunk.checkpoints()[-1]}" in stage.describe(config, stage.plan(config))
    assert Path(stage.plan(config).parent.checkpoint) == trunk.checkpoints()[-1]
