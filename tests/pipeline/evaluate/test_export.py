"""A checkpoint's model as a folder of its own."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from pipeline.errors import ConfigError
from pipeline.evaluate.export import export


def test_transformers_loads_what_was_exported(run, network, setting, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = export(run, tmp_path / "exported")

    text = "some words"
    ids = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")["input_ids"]

    assert ids[0].tolist() == setting.tokenizer.encode(text)
    with torch.no_grad():
        theirs = AutoModelForCausalLM.from_pretrained(folder).eval()(ids).logits
        assert (theirs - network(ids)).abs().max() < 1e-5


def test_a_folder_that_is_there_is_left_alone(run, tmp_path):
    with pytest.raises(ConfigError, match="is there already"):
        export(run, tmp_path)
