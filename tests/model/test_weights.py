"""Weights on disk: read by transformers, read from transformers, refused when they are something else."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F  # noqa: N812 - everybody's name for it
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
)

from model.config import GPTConfig
from model.tokenizer import train
from model.transformer import GPT
from model.weights import from_hugging_face, load_model, load_network, read_config, save_model

CONFIG = GPTConfig(n_layer=2, n_head=2, n_embd=16, n_ctx=12, vocab_size=300, dropout=0.1, label="tiny")
CONFIGS = {"gpt2": CONFIG, "gpt1": replace(CONFIG, architecture="gpt1", position_std=0.02)}
PUBLISHED = {
    "gpt2": (GPT2Config, GPT2LMHeadModel, {"bos_token_id": 299, "eos_token_id": 299}),
    "gpt1": (OpenAIGPTConfig, OpenAIGPTLMHeadModel, {}),
}
both = pytest.mark.parametrize("architecture", list(CONFIGS))


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def network(architecture):
    torch.manual_seed(0)
    model = GPT(CONFIGS[architecture]).eval()
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    return model


@pytest.fixture
def saved(tmp_path):
    model = network("gpt2")
    save_model(tmp_path / "model", model.state_dict(), CONFIG)
    return model, tmp_path / "model"


def published(architecture):
    """Transformers' network of the same shape, with random weights of its own."""
    torch.manual_seed(0)
    config, kind, ends = PUBLISHED[architecture]
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 12, "vocab_size": 300}
    theirs = kind(config(**shape, **ends)).eval()
    for parameter in theirs.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    return theirs


def ids(seed=1):
    return torch.randint(0, 300, (2, 12), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def logits(model):
    found = model(ids())
    return found if isinstance(found, torch.Tensor) else found.logits


def assert_same(ours, theirs):
    """Logits and the gradient of every parameter are equal to 1e-5."""
    assert (logits(ours) - logits(theirs)).abs().max() < 1e-5
    targets = ids(2)
    ours(ids(), targets).div(targets.numel()).backward()
    F.cross_entropy(theirs(ids()).logits.flatten(0, 1), targets.flatten()).backward()
    expected = from_hugging_face({name: each.grad for name, each in theirs.named_parameters()})
    found = {name: each.grad for name, each in ours.named_parameters()}
    assert set(found) == set(expected)
    for name, gradient in found.items():
        assert (gradient - expected[name]).abs().max() < 1e-5, name


@both
def test_transformers_loads_a_saved_folder_and_gives_equal_logits_and_gradients(architecture, tmp_path):
    ours = network(architecture)
    save_model(tmp_path / "model", ours.state_dict(), CONFIGS[architecture])

    theirs, told = AutoModelForCausalLM.from_pretrained(tmp_path / "model", output_loading_info=True)

    assert isinstance(theirs, PUBLISHED[architecture][1]) and not any(told.values())
    assert_same(ours, theirs.eval())


@both
def test_a_folder_that_transformers_saved_gives_equal_logits_and_gradients(architecture, tmp_path):
    theirs = published(architecture)
    theirs.save_pretrained(tmp_path)

    assert_same(load_network(tmp_path), theirs)
    assert read_config(tmp_path) == replace(CONFIGS[architecture], label="")


@pytest.mark.slow
@both
def test_the_papers_smallest_size_gives_equal_logits_and_gradients(architecture):
    torch.manual_seed(0)
    config, kind, _ = PUBLISHED[architecture]
    theirs = kind(config()).eval()
    shape = {key: getattr(theirs.config, key) for key in ("n_layer", "n_head", "n_embd", "vocab_size")}
    shape |= {"architecture": architecture, "n_ctx": theirs.config.n_positions}
    ours = GPT(GPTConfig(**shape), initialised=False)
    ours.load_state_dict(from_hugging_face(theirs.state_dict()))

    assert_same(ours.eval(), theirs)


@both
def test_a_size_of_the_papers_is_known_by_its_number_of_parameters(architecture, tmp_path):
    PUBLISHED[architecture][0]().save_pretrained(tmp_path)

    assert read_config(tmp_path).label == "117M"


def test_whoever_may_read_the_configuration_may_read_the_weights(saved):
    modes = {path.stat().st_mode for path in saved[1].iterdir()}

    assert len(modes) == 1


def test_the_end_of_a_text_is_told(saved):
    config = AutoModelForCausalLM.from_pretrained(saved[1])

    assert config.config.eos_token_id == config.generation_config.eos_token_id == 299


def test_a_folder_in_several_files_is_read(tmp_path):
    torch.manual_seed(0)
    config = GPT2Config(n_layer=2, n_head=2, n_embd=16, n_positions=12, vocab_size=300, eos_token_id=299)
    theirs = GPT2LMHeadModel(config).eval()
    theirs.save_pretrained(tmp_path, max_shard_size="10KB")

    assert not (tmp_path / "model.safetensors").exists()
    assert (logits(load_network(tmp_path)) - logits(theirs)).abs().max() < 1e-5


@both
def test_shape_and_weights_come_back_as_they_went(architecture, tmp_path):
    model = network(architecture)
    save_model(tmp_path / "model", model.state_dict(), CONFIGS[architecture])

    config, state = load_model(tmp_path / "model")

    assert config == CONFIGS[architecture]
    assert set(state) == set(model.state_dict())
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in load_network(tmp_path / "model").parameters())


def test_names_of_old_releases_are_known(saved):
    """Hugging Face's own first uploads have no prefix, and hold masks and positions as buffers."""
    model, folder = saved
    tensors = load_file(folder / "model.safetensors")
    buffers = {"h.0.attn.bias": torch.ones(1, 1, 12, 12), "h.1.attn.masked_bias": torch.tensor(-1e4)}
    save_file({**tensors, **buffers, "position_ids": torch.arange(12)}, folder / "model.safetensors")

    assert (logits(load_network(folder)) - logits(model)).abs().max() == 0


def test_a_matrix_kept_only_as_the_head_is_the_embedding_too(saved):
    model, folder = saved
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors.pop("wte.weight")
    save_file(tensors, folder / "model.safetensors")

    assert (logits(load_network(folder)) - logits(model)).abs().max() == 0


def padded(folder, rows, prefix="", head=False):
    """Add rows that are no id's to a saved folder's embedding, as llm.c and nanoGPT do for speed."""
    tensors = {prefix + name: each for name, each in load_file(folder / "model.safetensors").items()}
    name = next(name for name in tensors if name.endswith(("wte.weight", "tokens_embed.weight")))
    tensors[name] = torch.cat([tensors[name], torch.full((rows, 16), 7.0)])
    if head:
        tensors["lm_head.weight"] = tensors[name].clone()
    save_file(tensors, folder / "model.safetensors")


@both
@pytest.mark.parametrize("head", [False, True])
def test_rows_past_the_configurations_vocabulary_are_cut(architecture, head, tmp_path):
    model = network(architecture)
    save_model(tmp_path, model.state_dict(), CONFIGS[architecture])
    padded(tmp_path, 20, prefix="transformer.", head=head)

    assert (logits(load_network(tmp_path)) - logits(model)).abs().max() == 0


def test_a_padded_configuration_is_cut_to_a_tokenizers_ids(saved):
    model, folder = saved
    padded(folder, 20)
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, "vocab_size": 320}))

    cut = load_network(folder, vocab_size=300)

    assert cut.config.vocab_size == 300 and cut.wte.weight.shape == (300, 16)
    assert (logits(cut) - logits(model)).abs().max() == 0
    assert load_network(folder).config.vocab_size == 320


def test_a_tokenizer_of_more_ids_than_the_network_is_refused(saved):
    with pytest.raises(ValueError, match="300 ids, but the tokenizer has 301"):
        load_model(saved[1], vocab_size=301)


def test_fewer_rows_than_the_vocabulary_are_refused(saved):
    _, folder = saved
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "wte.weight": tensors["wte.weight"][:299].clone()}, folder / "model.safetensors")

    with pytest.raises(ValueError, match=r"wte.weight is \(299, 16\), should be \(300, 16\)"):
        load_model(folder)


def test_the_tokenizer_goes_along(tmp_path):
    tokenizer = train(["one two three " * 30], 265)
    config = GPTConfig(n_layer=1, n_head=1, n_embd=4, n_ctx=4, vocab_size=265)

    save_model(tmp_path / "model", GPT(config).state_dict(), config, tokenizer)

    written = json.loads((tmp_path / "model" / "generation_config.json").read_text())
    assert (tmp_path / "model" / "tokenizer.json").is_file() and written["eos_token_id"] == 264


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model_type", "llama", "model_type is 'llama', not 'gpt2' or 'openai-gpt'"),
        ("model_type", "openai-gpt", "tensors do not fit"),
        ("activation_function", "relu", "activation_function is 'relu'"),
        ("n_inner", 7, "n_inner is 7, not 4"),
        ("tie_word_embeddings", False, "tie_word_embeddings is False"),
        ("n_embd", 72, "tensors do not fit the configuration"),
        ("n_layer", 3, r"its configuration says 3 layers, its weights are of \d"),
        ("n_layer", 16_000_000, "its configuration says 16,000,000 layers"),
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
    _, folder = saved
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "lm_head.weight": tensors["wte.weight"] + 1}, folder / "model.safetensors")

    with pytest.raises(ValueError, match="head differs from the token embedding"):
        load_model(folder)


def test_an_index_of_files_that_is_none_is_refused(saved):
    _, folder = saved
    (folder / "model.safetensors.index.json").write_text("{}")

    with pytest.raises(ValueError, match=r"index\.json: tells no files of weights"):
        load_model(folder)


def test_missing_files_are_named(saved, tmp_path):
    _, folder = saved
    (folder / "model.safetensors").unlink()

    with pytest.raises(FileNotFoundError, match=r"model\.safetensors: no such file"):
        load_model(folder)
    with pytest.raises(FileNotFoundError, match=r"no config\.json here"):
        load_model(tmp_path)
