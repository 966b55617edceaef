"""A checkpoint's model as a folder of its own."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from model import tokenizer as tokenizers
from model.transformer import GPT
from model.weights import load_model, load_network, save_model
from pipeline.errors import ConfigError, FormatError
from pipeline.evaluate.export import export
from pipeline.evaluate.sample import stream

from .conftest import RELEASE, SHAPE


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@torch.no_grad()
def assert_transformers_agrees(folder, network, ids):
    theirs, told = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(told.values())
    assert theirs.config.vocab_size == network.config.vocab_size
    assert (theirs.eval()(ids).logits - network(ids)).abs().max() < 1e-5


def test_transformers_loads_what_was_exported(run, network, setting, tmp_path):
    folder = export(run, tmp_path / "exported")

    text = "some words"
    ids = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")["input_ids"]

    assert ids[0].tolist() == setting.tokenizer.encode(text)
    assert_transformers_agrees(folder, network, ids)


def test_a_gpt1_is_exported_as_transformers_own_kind(tmp_path):
    torch.manual_seed(0)
    network = GPT(replace(SHAPE, architecture="gpt1", label="tiny")).eval()
    save_model(tmp_path / "gpt1", network.state_dict(), network.config)

    folder = export(tmp_path / "gpt1", tmp_path / "exported")

    assert load_model(folder)[0] == network.config
    assert_transformers_agrees(folder, network, torch.arange(40).unsqueeze(0))


def test_openais_release_is_exported_and_sampled_from_where_it_lies(release, tmp_path):
    folder = export(release, tmp_path / "exported")

    ids = torch.tensor([AutoTokenizer.from_pretrained(folder)("one two three")["input_ids"]])
    assert ids[0].tolist() == tokenizers.load(release).encode("one two three")
    assert_transformers_agrees(folder, load_network(release), ids)
    written = [list(stream(place, ["one"], max_new_tokens=9)) for place in (release, folder)]
    assert written[0] == written[1]


def pad(folder, rows, configured):
    """Add rows to the embedding that are no id's, which config.json may count as ids or not."""
    tensors = load_file(folder / "model.safetensors")
    wte = tensors["wte.weight"]
    tensors["wte.weight"] = torch.cat([wte, wte.new_full((rows, wte.shape[1]), 5.0)])
    save_file(tensors, folder / "model.safetensors")
    if configured:
        content = json.loads((folder / "config.json").read_text())
        content["vocab_size"] += rows
        (folder / "config.json").write_text(json.dumps(content))


@pytest.mark.parametrize("configured", [True, False])
def test_padding_of_the_vocabulary_is_cut(configured, run, network, tmp_path, caplog):
    whole = export(run, tmp_path / "whole")
    padded = Path(shutil.copytree(whole, tmp_path / "padded"))
    pad(padded, 48, configured)

    folder = export(padded, tmp_path / "exported")

    assert_transformers_agrees(folder, network, torch.arange(60).unsqueeze(0))
    assert ("448 ids, but its tokenizer has 400; the other 48" in caplog.text) == configured
    assert list(stream(padded, ["a"], max_new_tokens=20)) == list(stream(whole, ["a"], max_new_tokens=20))


def test_a_tokenizer_of_other_weights_is_refused(release, dataset, tmp_path):
    for name in ("encoder.json", "vocab.bpe"):
        (release / name).unlink()
    tokenizers.load(dataset).save(release)

    with pytest.raises(FormatError, match="265 ids, but the tokenizer has 400"):
        export(release, tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


def test_weights_without_a_tokenizer_are_exported_without(tmp_path, caplog):
    folder = export(RELEASE, tmp_path / "exported")

    assert "no tokenizer here" in caplog.text and not (folder / "tokenizer.json").exists()
    assert_transformers_agrees(folder, load_network(RELEASE), torch.arange(16).unsqueeze(0))


def test_a_folder_that_is_there_is_left_alone(run, tmp_path):
    with pytest.raises(ConfigError, match="is there already"):
        export(run, tmp_path)
