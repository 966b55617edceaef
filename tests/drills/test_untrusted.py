"""R17: to open what somebody else made runs none of its code, and leads to no file but its own.

Every artefact here would make a folder, the canary, where it is opened carelessly; that is tried first.
"""

from __future__ import annotations

import io
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import blake3
import numpy as np
import pytest
import torch
import yaml

from tests.drills import hostile, hostile_folders
from tests.drills.commands import command, run_values, write_yaml
from tests.drills.hostile import DONE, RAN_NOTHING, REFUSED, assert_opened_safely
from tests.pipeline.formats.editing import edit

RELEASE = Path(__file__).parents[1] / "model" / "gpt2_release"


def of_step_2(run: Path) -> Path:
    return run / "checkpoints" / "step-00000002"


def sum_again(checkpoint: Path) -> None:
    """Make the meta of a checkpoint agree with its files, as whoever made it hostile would."""
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != "meta.json")
    sums = {
        path.relative_to(checkpoint).as_posix(): blake3.blake3(path.read_bytes()).hexdigest()
        for path in files
    }
    edit(checkpoint / "meta.json", blake3=sums)


def only(run: Path) -> None:
    """Leave a run one checkpoint, from which it goes on."""
    for path in (run / "checkpoints").iterdir():
        if path != of_step_2(run):
            shutil.rmtree(path)


def test_the_canary_is_made_by_whoever_is_careless(canary):
    def fires(opening: Callable[[], object]) -> bool:
        opening()
        found = canary.is_dir()
        canary.rmdir()
        return found

    for content in hostile.pickles(canary).values():
        assert fires(lambda content=content: pickle.loads(content))
    zipped = io.BytesIO(hostile.torch_file(canary))
    assert fires(lambda: torch.load(zipped, weights_only=False))
    assert fires(lambda: np.load(io.BytesIO(hostile.object_array(canary)), allow_pickle=True))
    assert fires(lambda: np.load(io.BytesIO(hostile.object_archive(canary)), allow_pickle=True)["params"])
    for name in ("apply", "new", "apply with arguments", "apply of eval", "full tag"):
        assert fires(lambda name=name: yaml.unsafe_load(hostile.yamls(canary)[name]))


# Hugging Face's layout, and what lies around in such folders.


@pytest.mark.parametrize("plant", [*hostile_folders.HARMLESS, *hostile_folders.REFUSED])
def test_a_model_folder_of_hugging_faces_layout(made, tmp_path, canary, drill, plant):
    drill.promise("R17", RAN_NOTHING)
    folder = shutil.copytree(of_step_2(made / "run") / "model", tmp_path / "model")
    expected = REFUSED if plant in hostile_folders.REFUSED else DONE

    plant(folder, canary)

    for words in (
        ["sample", folder, "the", "--tokens", "2"],
        ["export", folder, "--to", tmp_path / "exported"],
    ):
        assert_opened_safely(words, expected, canary)


@pytest.mark.parametrize("instructions", hostile.pickles(Path("x")))
def test_weights_that_are_pickles_under_the_name_of_safetensors(made, tmp_path, canary, drill, instructions):
    drill.promise("R17", RAN_NOTHING)
    folder = shutil.copytree(of_step_2(made / "run") / "model", tmp_path / "model")
    pickled = hostile.pickles(canary)[instructions]

    for _, content in zip(
        drill.trials(few=2, full=2), (pickled, hostile.torch_file(canary, pickled)), strict=True
    ):
        (folder / "model.safetensors").write_bytes(content)
        said = assert_opened_safely(["sample", folder, "the", "--tokens", "2"], REFUSED, canary)
        assert "model.safetensors" in said
        drill.passed()


def test_a_start_from_hostile_weights_is_refused(made, tmp_path, canary, drill):
    drill.promise("R17", RAN_NOTHING)
    folder = shutil.copytree(of_step_2(made / "run") / "model", tmp_path / "model")
    (folder / "model.safetensors").write_bytes(hostile.torch_file(canary))
    values = {
        **run_values(made / "data", tmp_path / "run"),
        "init": {"checkpoint": str(folder), "what": "weights"},
    }

    assert "model.safetensors" in assert_opened_safely(
        ["train", write_yaml(tmp_path / "c.yaml", values)], REFUSED, canary
    )


# OpenAI's releases.


@pytest.mark.parametrize(
    "name",
    [
        "model.ckpt.index",
        "model.ckpt.data-00000-of-00001",
        "hparams.json",
        "encoder.json",
        "vocab.bpe",
        "checkpoint",
    ],
)
@pytest.mark.parametrize("instructions", ["reduce, protocol 0", "reduce, protocol 2", "inside a state"])
def test_a_file_of_gpt2s_release_that_is_a_pickle(tmp_path, canary, drill, name, instructions):
    drill.promise("R17", RAN_NOTHING)
    folder = Path(shutil.copytree(RELEASE, tmp_path / "release"))
    (folder / name).write_bytes(hostile.pickles(canary)[instructions])

    # Weights without a tokenizer are exported without one; a sample cannot do without.
    expected = DONE if name in ("checkpoint", "encoder.json", "vocab.bpe") else REFUSED
    assert_opened_safely(["export", folder, "--to", tmp_path / "exported"], expected, canary)


@pytest.mark.parametrize(
    "content",
    [
        hostile.object_array,
        hostile.object_archive,
        hostile.torch_file,
        *hostile.pickles(Path("x")),
    ],
)
def test_a_file_of_gpt1s_release_that_holds_objects(tmp_path, canary, drill, content):
    drill.promise("R17", RAN_NOTHING)
    folder = tmp_path / "gpt1"
    folder.mkdir()
    width = 64
    block = [[1, width, 3 * width], [3 * width], [1, width, width], *[[width]] * 3]
    block += [[1, width, 4 * width], [4 * width], [1, 4 * width, width], *[[width]] * 3]
    (folder / "params_shapes.json").write_text(json.dumps([[4, width], [10, width], *block]))
    for number in range(1, 10):
        np.save(folder / f"params_{number}.npy", np.zeros(1, dtype=np.float32))
    (folder / "params_0.npy").write_bytes(
        hostile.pickles(canary)[content] if isinstance(content, str) else content(canary)
    )

    said = assert_opened_safely(["export", folder, "--to", tmp_path / "exported"], REFUSED, canary)
    assert "params_0.npy" in said


# Checkpoints of runs.


@pytest.mark.parametrize("shape", ["pickle", "torch"])
@pytest.mark.parametrize("instructions", ["reduce, protocol 2", "eval, protocol 4"])
def test_a_state_shard_that_is_a_pickle_with_the_right_sum(
    made, tmp_path, canary, drill, shape, instructions
):
    drill.promise("R17", RAN_NOTHING)
    run = shutil.copytree(made / "run", tmp_path / "run")
    only(run)
    pickled = hostile.pickles(canary)[instructions]
    content = pickled if shape == "pickle" else hostile.torch_file(canary, pickled)
    next((of_step_2(run) / "state").glob("*.safetensors")).write_bytes(content)
    sum_again(of_step_2(run))

    said = assert_opened_safely(
        ["train", write_yaml(tmp_path / "c.yaml", run_values(made / "data", run))], REFUSED, canary
    )
    assert "tensors-00000-of-00001.safetensors" in said


@pytest.mark.parametrize(
    "name", [".metadata", "state/.metadata", "state/optimizer.pt", "model/pytorch_model.bin"]
)
@pytest.mark.parametrize("is_summed", [False, True])
def test_a_pickle_in_a_checkpoint_is_refused_or_never_opened(made, tmp_path, canary, drill, name, is_summed):
    drill.promise("R17", RAN_NOTHING)
    run = shutil.copytree(made / "run", tmp_path / "run")
    only(run)
    (of_step_2(run) / name).write_bytes(hostile.pickles(canary)["reduce, protocol 2"])
    if is_summed:
        sum_again(of_step_2(run))

    ended = command("train", write_yaml(tmp_path / "c.yaml", run_values(made / "data", run)))

    assert not canary.exists()
    assert ended.code == (DONE if is_summed else REFUSED), ended.said
    assert is_summed or f"{name}: not in meta.json" in ended.said


@pytest.mark.parametrize("name", ["meta.json", "state/index.json"])
def test_the_json_of_a_checkpoint_that_is_a_pickle(made, tmp_path, canary, drill, name):
    drill.promise("R17", RAN_NOTHING)
    run = shutil.copytree(made / "run", tmp_path / "run")
    only(run)
    (of_step_2(run) / name).write_bytes(hostile.pickles(canary)["reduce, protocol 2"])
    if name != "meta.json":
        sum_again(of_step_2(run))

    ended = command("train", write_yaml(tmp_path / "c.yaml", run_values(made / "data", run)))

    assert not canary.exists()
    assert name in ended.said
    assert ended.code == REFUSED, ended.said
