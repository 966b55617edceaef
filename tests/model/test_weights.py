"""Weights on disk: read by transformers, read from transformers, refused when they are something else."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from model.config import GPTConfig
from model.tokenizer import train
from model.transformer import GPT
from model.weights import load_model, load_network, save_model

CONFIG = GPTConfig(n_layer=2, n_head=2, n_embd=16, n_ctx=12, vocab_size=300, dropout=0.1, label="tiny")


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    model = GPT(CONFIG).eval()
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    save_model(tmp_path / "model", model.state_dict(), CONFIG)
    return model, tmp_path / "model"


def ids():
    return torch.randint(0, 300, (2, 12), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def logits(model):
    found = model(ids())
    return found if isinstance(found, torch.Tensor) else found.logits


def test_transformers_loads_a_saved_folder_and_gives_equal_logits(saved):
    ours, folder = saved

    theirs = AutoModelForCausalLM.from_pretrained(folder).eval()

    assert (logits(ours) - logits(theirs)).abs().max() < 1e-5
    assert theirs.config.eos_token_id == theirs.generation_config.eos_token_id == 299


def test_a_folder_that_transformers_saved_gives_equal_logits(tmp_path):
    torch.manual_seed(0)
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 12, "vocab_size": 300}
    theirs = GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=299, eos_token_id=299)).eval()
    theirs.save_pretrained(tmp_path)

    ours = load_network(tmp_path)

    assert (logits(ours) - logits(theirs)).abs().max() < 1e-5


def test_a_folder_in_several_files_is_read(tmp_path):
    torch.manual_seed(0)
    config = GPT2Config(n_layer=2, n_head=2, n_embd=16, n_positions=12, vocab_size=300, eos_token_id=299)
    theirs = GPT2LMHeadModel(config).eval()
    theirs.save_pretrained(tmp_path, max_shard_size="10KB")

    assert not (tmp_path / "model.safetensors").exists()
    assert (logits(load_network(tmp_path)) - logits(theirs)).abs().max() < 1e-5


def test_shape_and_weights_come_back_as_they_went(saved):
    model, folder = saved
    config, state = load_model(folder)

    assert config == CONFIG
    assert list(state) != [] and all(
        torch.equal(state[name], value) for name, value in model.state_dict().items()
    )
    assert all(parameter.requires_grad for parameter in load_network(folder).parameters())


def test_the_tokenizer_goes_along(tmp_path):
    tokenizer = train(["one two three " * 30], 265)
    config = GPTConfig(n_layer=1, n_head=1, n_embd=4, n_ctx=4, vocab_size=265)

    save_model(tmp_path / "model", GPT(config).state_dict(), config, tokenizer)

    written = json.loads((tmp_path / "model" / "generation_config.json").read_text())
    assert (tmp_path / "model" / "tokenizer.json").is_file() and written["eos_token_id"] == 264


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model_type", "llama", "model_type is 'llama', not 'gpt2'"),
        ("activation_function", "relu", "activation_function is 'relu'"),
        ("n_inner", 7, "n_inner is not 4"),
        ("n_layer", 3, "tensors do not fit config.json"),
        ("n_head", 5, "must be a multiple of n_head"),
    ],
)
def test_what_is_not_this_network_is_refused_by_name(key, value, message, saved):
    _, folder = saved
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))

    with pytest.raises(ValueError, match=message) as refused:
        load_model(folder)
    assert str(folder) in str(refused.value)


def test_a_file_cut_off_is_refused_by_name(saved):
    _, folder = saved
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(ValueError, match=r"model\.safetensors: not a whole safetensors file"):
        load_model(folder)


def test_a_head_of_its_own_is_refused(saved):
    from safetensors.torch import load_file, save_file

    _, folder = saved
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "lm_head.weight": tensors["wte.weight"] + 1}, folder / "model.safetensors")

    with pytest.raises(ValueError, match="head differs from the token embedding"):
        load_model(folder)


def test_missing_files_are_named(saved, tmp_path):
    _, folder = saved
    (folder / "model.safetensors").unlink()

    with pytest.raises(FileNotFoundError, match=r"model\.safetensors: no such file"):
        load_model(folder)
    with pytest.raises(FileNotFoundError, match=r"no config\.json here"):
        load_model(tmp_path)
