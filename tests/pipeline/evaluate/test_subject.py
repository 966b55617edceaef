"""Which weights a user's path means."""

import shutil

import pytest

from pipeline.errors import ConfigError, FormatError
from pipeline.formats.publish import blake3_of
from pipeline.formats.subject import locate
from tests.pipeline.evaluate.conftest import add_checkpoint


def test_a_run_its_checkpoint_and_its_model_folder_mean_the_same(run):
    checkpoint = run / "checkpoints" / "step-00000005"

    subjects = {locate(path) for path in (run, checkpoint, checkpoint / "model")}

    (subject,) = subjects
    assert subject.model == checkpoint / "model"
    assert subject.results == run / "results" / "step-00000005"
    assert subject.weights_hash == blake3_of(checkpoint / "model" / "model.safetensors")


def test_of_a_run_the_newest_whole_checkpoint_is_taken(run, network, dataset, caplog):
    newer = add_checkpoint(run, 9, network, dataset)
    assert locate(run).path == newer

    (newer / "model" / "config.json").unlink()

    assert locate(run).path.name == "step-00000005"
    assert "step-00000009 is damaged" in caplog.text


def test_a_folder_in_hugging_faces_layout_is_known_by_its_weights(run, tmp_path):
    folder = tmp_path / "exported"
    shutil.copytree(run / "checkpoints" / "step-00000005" / "model", folder)

    subject = locate(folder)

    assert subject.weights_hash == locate(run).weights_hash
    assert subject.results == folder / "results" / subject.weights_hash[:16]


@pytest.mark.parametrize("weights", [["model.ckpt.data-00000-of-00001"], ["params_0.npy", "params_1.npy"]])
def test_a_folder_as_openai_released_it_is_known_by_its_weights(weights, tmp_path):
    (tmp_path / ("hparams.json" if len(weights) == 1 else "params_shapes.json")).write_text("{}")
    for name in weights:
        (tmp_path / name).write_text(name)

    before = locate(tmp_path).weights_hash
    (tmp_path / weights[0]).write_text("other")

    assert locate(tmp_path).model == tmp_path and locate(tmp_path).weights_hash != before


def test_changed_weights_are_refused_by_name(run):
    path = run / "checkpoints" / "step-00000005" / "model" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    with pytest.raises(FormatError, match=r"model\.safetensors: blake3 \w+, meta\.json says"):
        locate(path.parents[1])


@pytest.mark.parametrize("make", [str, lambda path: path.mkdir()])
def test_a_path_without_weights_is_refused(make, tmp_path):
    make(tmp_path / "x")

    with pytest.raises(ConfigError, match="give a run, a checkpoint"):
        locate(tmp_path / "x")


def test_a_run_without_a_whole_checkpoint_says_so(tmp_path):
    (tmp_path / "checkpoints").mkdir()

    with pytest.raises(ConfigError, match="no whole checkpoint yet"):
        locate(tmp_path)
