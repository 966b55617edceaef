"""Bytes that changed since they were written: found before a step is taken on them, named, nothing lost.

Most trials start the run again in this process, as far as its first step; some by the command. Where a
checkpoint is hit the run goes on from the one before; elsewhere it is refused with the remedy.
"""

# ruff: noqa: F401, F811 - fixtures are imported by the names under which tests ask for them
from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from pipeline.config import validate
from pipeline.errors import ConfigError, FormatError
from pipeline.formats.checkpoint import META, Meta
from pipeline.formats.run import Run
from pipeline.formats.subject import locate
from pipeline.train import stage
from pipeline.train.stage import Config
from tests.drills.conftest import Drill
from tests.drills.corrupted import (
    NEWER,
    OLDER,
    REMEDY,
    Told,
    assert_kept,
    assert_told,
    command,
    files,
    resume,
    run_values,
    stopped,
    trial,
)
from tests.drills.damage import DAMAGES, contents, inverted, swap
from tests.pipeline.formats.editing import edit


@pytest.mark.parametrize("how", DAMAGES)
def test_damage_to_a_dataset_is_refused_before_a_step(drill: Drill, how: str, stopped, resume):
    drill.promise("R4", "a file of a dataset damaged: shards, indexes, manifest, tokenizer's files")
    names = files(stopped / "dataset")
    for number in drill.trials(few=2, full=60):
        folder = trial(stopped)
        name = names[number % len(names)] if number >= 2 else drill.random.choice(names)
        DAMAGES[how](folder / "dataset" / name, drill.random)
        before = contents(folder)

        told = resume(folder)

        assert told.refused and told.step is None, (how, name, told)
        assert_told(told, name, how)
        assert contents(folder) == before
        drill.passed()


@pytest.mark.parametrize("how", DAMAGES)
def test_damage_to_a_checkpoint_is_named_and_the_one_before_it_used(
    drill: Drill, how: str, stopped, resume, tmp_path
):
    drill.promise("R4", "a file of a checkpoint damaged: meta, state, index, weights, model's config")
    newest = f"run/checkpoints/step-{NEWER:08d}"
    names = files(stopped / newest)
    for number in drill.trials(few=2, full=80):
        folder = trial(stopped)
        name = names[number % len(names)] if number >= 2 else drill.random.choice(names)
        DAMAGES[how](folder / newest / name, drill.random)
        before = contents(folder / "run/checkpoints")

        told = resume(folder)

        assert (told.refused, told.step) == (False, OLDER), (how, name, told)
        assert f"{newest} is damaged" in told.of(name), (how, name, told)
        assert_told(told, name, how)
        assert_kept(before, folder / "run/checkpoints")
        drill.passed()


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", ["config.yaml", "metrics.jsonl", "attempts/000.json", "writer.json"])
def test_damage_to_the_record_of_a_run_is_told(drill: Drill, name, how: str, stopped, resume):
    drill.promise("R4", "a file of a run damaged: config, rows, attempts, writer")
    if (name, how) in {("metrics.jsonl", "extended"), ("writer.json", "missing")}:
        pytest.skip("rows beyond a checkpoint are rewound; a run without a writer is one that has had none")
    for _ in drill.trials(few=1, full=20 if how != "missing" else 1):
        folder = trial(stopped)
        file = folder / "run" / name
        saved = _rows_of_newest(folder)
        whole = file.read_bytes()
        if name == "metrics.jsonl":
            file.write_bytes(whole[:saved])  # what follows belongs to no checkpoint
        DAMAGES[how](file, drill.random)
        if (found := _meaning(file)) is not None and found == _meaning_of(name, whole):
            drill.passed()  # another spelling of the same
            continue
        before = contents(folder / "run")

        told = resume(folder)

        about = told.of(Path(name).name)
        assert about, (how, told)
        if told.refused:
            assert REMEDY.search(about), about
            # The lock and what tells of its holder are the command's own.
            assert {**contents(folder / "run"), **_own(before)} == {**before, **_own(before)}
        else:
            # What does not change the result, such as an interval between checkpoints, or old rows that
            # are gone, is told and no reason to stop.
            assert how == "missing" or "which does not change the result" in about, (how, about)
            assert told.step == NEWER
        drill.passed()


def _own(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: files.get(name, b"") for name in ("writer.json", "writer.lock", "exit.json")}


def _rows_of_newest(folder: Path) -> int:
    """Return how many bytes of rows the newest checkpoint was saved with."""
    return int(Meta.read(folder / f"run/checkpoints/step-{NEWER:08d}").metrics["bytes"])


def _meaning(file: Path) -> Any:
    return _meaning_of(file.name, file.read_bytes()) if file.is_file() else None


def _meaning_of(name: str, content: bytes) -> Any:
    """Return what a file says, None where it says nothing that can be read."""
    try:
        if name.endswith(".yaml"):
            return yaml.safe_load(content)
        return orjson.loads(content) if name.endswith(".json") else content
    except (ValueError, yaml.YAMLError):
        return None


def test_files_in_each_others_place_are_found(drill: Drill, stopped, resume):
    drill.promise("R4", "two files swapped: shards, indexes, states and weights of two steps")
    checkpoints = [f"run/checkpoints/step-{step:08d}" for step in (OLDER, NEWER)]
    of_steps = ["state/tensors-00000-of-00001.safetensors", "model/model.safetensors", META]
    pairs = [
        ("dataset/shards/train-00000.ds", "dataset/shards/train-00001.ds"),
        ("dataset/shards/train-00000.ds", "dataset/shards/validation-00000.ds"),
        ("dataset/shards/train-00000.ds.index", "dataset/shards/train-00001.ds.index"),
        ("dataset/vocab.json", "dataset/tokenizer.json"),
    ]
    for one, other in pairs:
        drill.trials(few=1, full=1)
        folder = trial(stopped)
        swap(folder / one, folder / other)
        told = resume(folder)
        assert told.refused and (told.of(Path(one).name) or told.of(Path(other).name))
        drill.passed()
    for name in of_steps:
        drill.trials(few=1, full=1)
        folder = trial(stopped)
        swap(*(folder / checkpoint / name for checkpoint in checkpoints))
        before = contents(folder / "run/checkpoints")
        told = resume(folder)
        # Both are bad, and starting again from nothing is nobody's to choose but the user's.
        assert told.refused and "none of its 2 checkpoints is whole" in told.lines[-1]
        assert all(f"{checkpoint} is damaged" in "\n".join(told.lines) for checkpoint in checkpoints)
        assert contents(folder / "run/checkpoints") == before
        drill.passed()


def test_whole_files_that_belong_elsewhere_are_found(drill: Drill, stopped, resume):
    drill.promise("R4", "whole, but wrong: model's config, type of the ids, another run's checkpoint")
    newest = f"run/checkpoints/step-{NEWER:08d}"

    def wrong_model_config(folder: Path) -> str:
        path = folder / newest / "model" / "config.json"
        path.write_text(path.read_text().replace('"n_layer": 1', '"n_layer": 2'))
        return "config.json"

    def wrong_dtype(folder: Path) -> str:
        edit(folder / "dataset" / "manifest.json", dtype="uint32")
        shutil.rmtree(folder / "run")  # which knows the data by its hash, type included
        return "train-00000.ds"

    def another_tokenizer(folder: Path) -> str:
        manifest = folder / "dataset" / "manifest.json"
        edit(manifest, tokenizer_fingerprint="0" * 32, files={})
        shutil.rmtree(folder / "run")
        return "fingerprint"

    def another_model(folder: Path) -> str:
        identity = Meta.read(folder / newest).identity
        edit(folder / newest / META, identity={**identity, "model": {**identity["model"], "n_layer": 2}})
        return "model.n_layer: 2 -> 1"

    def other_data(folder: Path) -> str:
        edit(folder / newest / META, data_hash="0123456789abcdef")
        return "data: '0123456789abcdef' ->"

    def a_step_renamed(folder: Path) -> str:
        (folder / newest).rename(folder / newest.replace(f"{NEWER:08d}", f"{NEWER + 1:08d}"))
        return f"is of step {NEWER}, not of"

    for wrong in (
        wrong_model_config,
        wrong_dtype,
        another_tokenizer,
        another_model,
        other_data,
        a_step_renamed,
    ):
        drill.trials(few=1, full=1)
        folder = trial(stopped)
        words = wrong(folder)
        told = resume(folder)
        assert REMEDY.search(told.of(words)), (wrong.__name__, told)
        assert told.refused or told.step == OLDER, told
        drill.passed()


def test_weights_that_were_damaged_are_not_evaluated_sampled_or_exported(drill: Drill, stopped):
    drill.promise("R4", "a checkpoint's weights damaged: evaluate, sample, export")
    newest = f"run/checkpoints/step-{NEWER:08d}"
    names = [name for name in files(stopped / newest) if name.startswith("model/")]
    for number in drill.trials(few=1, full=40):
        folder = trial(stopped)
        name = names[number % len(names)]
        how = drill.random.choice(list(DAMAGES))
        DAMAGES[how](folder / newest / name, drill.random)
        with pytest.raises(FormatError) as refusal:
            locate(folder / newest)
        assert_told(Told([str(refusal.value)]), name, how)
        assert locate(folder / "run").path.name == f"step-{OLDER:08d}"
        drill.passed()


def test_an_undamaged_run_goes_on_from_its_newest_checkpoint(stopped, resume):
    told = resume(trial(stopped))

    assert (told.refused, told.step) == (False, NEWER), told


def test_a_branch_from_a_damaged_trunk_is_refused(stopped, resume):
    folder = trial(stopped)
    trunk = folder / f"run/checkpoints/step-{NEWER:08d}"
    inverted(trunk / "state" / "index.json", random.Random(0))
    changes = {"out": str(folder / "branch"), "init": {"checkpoint": str(trunk), "what": "state"}}
    config = validate(Config, {**run_values(folder), **changes}, "drill")

    with pytest.raises(FormatError, match=r"index\.json: blake3 \w+, meta\.json says \w+; restore it"):
        stage.run(config, stage.plan(config))


def test_the_command_says_what_is_damaged_and_loses_nothing(drill: Drill, stopped):
    drill.promise("R4", "`loglinear train` on a damaged dataset or checkpoint, to its end")
    whole = trial(stopped)
    command(whole, 0)
    expected = (Run(whole / "run").checkpoints()[-1] / "model/model.safetensors").read_bytes()
    newest = f"run/checkpoints/step-{NEWER:08d}"
    for number in drill.trials(few=1, full=24):
        folder = trial(stopped)
        part = newest if number % 2 == 0 else "dataset"
        name = drill.random.choice(files(folder / part))
        how = drill.random.choice(list(DAMAGES))
        DAMAGES[how](folder / part / name, drill.random)
        before = contents(folder / part)

        told = Told(command(folder, 0 if part == newest else ConfigError.exit_code).splitlines())

        assert_told(told, name, how)
        if part == newest:
            found = Run(folder / "run")
            assert (found.checkpoints()[-1] / "model/model.safetensors").read_bytes() == expected
            assert_kept(before, next((folder / "run/checkpoints").glob(f"damaged-step-{NEWER:08d}*")))
        else:
            assert contents(folder / part) == before
        drill.passed()
