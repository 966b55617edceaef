"""A trained model of somebody else's (bbycroft/llm-viz: a gpt-nano that sorts), activation by activation.

Its layout is minGPT's: GPT-2's names with matrices as (out, in), and an output head of its own, which our
networks do not have, so the test applies it.
"""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from model.config import GPTConfig
from model.transformer import GPT

pytestmark = pytest.mark.real_data

INSIDE_THE_FIRST_BLOCK = {
    "ln_1": "ln1",
    "attn.c_attn": "qkv",
    "attn.c_proj": "yProj",
    "ln_2": "ln2",
    "mlp.c_fc": "fc",
    "mlp": "mlp",
}


def tensors(path: Path) -> dict[str, torch.Tensor]:
    """Return what a file holds: little-endian float32 in base64."""
    content = json.loads(path.read_text())
    return {
        name: torch.from_numpy(
            np.frombuffer(base64.b64decode(each["data"]), "<f4").reshape(each["shape"]).copy()
        )
        for name, each in content.items()
        if "data" in each
    }


@pytest.fixture(scope="module")
def sorter(real_data):
    """The network, its own head, and what its authors saw inside it for a batch of three."""
    folder = real_data / "weights" / "gpt-nano-sort"
    shape = json.loads((folder / "gpt-nano-sort-model.json").read_text())["config"]
    names = {"n_layer", "n_head", "n_embd", "vocab_size"}
    config = GPTConfig(n_ctx=shape["block_size"], **{name: shape[name] for name in names})
    state = {
        name.removeprefix("transformer."): tensor
        for name, tensor in tensors(folder / "gpt-nano-sort-model.json").items()
        if not name.endswith(".attn.bias")  # the causal mask
    }
    head = state.pop("lm_head.weight")
    network = GPT(config, initialised=False).eval()
    network.load_state_dict(state)
    return network, head, tensors(folder / "gpt-nano-sort-t0-partials.json")


@pytest.fixture(scope="module")
def seen(sorter):
    """What our modules give out for the same batch, by their names, and their last states."""
    network, _, theirs = sorter
    outputs = {}
    hooks = [
        module.register_forward_hook(
            lambda _, inputs, output, name=name: outputs.update({name: (inputs[0], output)})
        )
        for name, module in network.named_modules()
    ]
    with torch.no_grad():
        last = network.hidden(theirs["idx"].long())
    for hook in hooks:
        hook.remove()
    return outputs, last


def assert_equal(ours: torch.Tensor, theirs: torch.Tensor):
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() < 1e-5


@pytest.mark.parametrize("part", INSIDE_THE_FIRST_BLOCK)
def test_every_layer_of_the_first_block_gives_what_theirs_gave(part, seen, sorter):
    outputs, _ = seen

    assert_equal(outputs[f"h.0.{part}"][1], sorter[2][INSIDE_THE_FIRST_BLOCK[part]])


def test_the_embeddings_are_theirs(sorter):
    network, _, theirs = sorter

    assert_equal(network.wte.weight[theirs["idx"].long()], theirs["tok_emb"])
    assert_equal(network.wpe.weight.unsqueeze(0), theirs["pos_emb"])


def test_what_goes_into_layers_is_what_went_into_theirs(seen, sorter):
    inputs, theirs = {name: each[0] for name, each in seen[0].items()}, sorter[2]

    assert_equal(inputs["h.0"], theirs["x"])
    assert_equal(inputs["h.0.attn.c_proj"], theirs["y"])
    assert_equal(inputs["h.0.ln_2"], theirs["attnResid"])
    assert_equal(inputs["h.0.mlp.c_proj"], theirs["gelu"])


def test_queries_keys_and_values_of_every_head_and_the_attention_they_make(seen, sorter):
    theirs = sorter[2]
    parts = seen[0]["h.0.attn.c_attn"][1].split(48, dim=2)

    q, k, v = (part.view(3, 11, 3, 16).transpose(1, 2) for part in parts)
    scores = (q @ k.transpose(2, 3) / 16**0.5).masked_fill(torch.ones(11, 11).triu(1).bool(), -torch.inf)

    for name, ours in {"q": q, "k": k, "v": v, "attSm": scores.softmax(-1)}.items():
        assert_equal(ours, theirs[name])
    assert_equal(scores.nan_to_num(neginf=0.0), theirs["att"].nan_to_num(neginf=0.0))


def test_the_stream_after_every_block_and_the_final_norm(seen, sorter):
    (outputs, last), theirs = seen, sorter[2]

    for block in range(3):
        assert_equal(outputs[f"h.{block}"][1], theirs[f"block{block}"])
    assert_equal(outputs["h.0"][1], theirs["mlpResid"])
    assert_equal(last, theirs["ln_f"])


def test_logits_and_probabilities(seen, sorter):
    (_, last), (_, head, theirs) = seen, sorter

    logits = F.linear(last, head)

    assert_equal(logits, theirs["lm_head"])
    assert_equal(logits.softmax(-1), theirs["probs"])


def test_it_sorts(sorter):
    network, head, _ = sorter
    numbers = torch.tensor([[2, 0, 1, 1, 0, 2], [0, 2, 2, 1, 2, 0]])
    ids = numbers

    with torch.no_grad():
        for _ in range(6):
            ids = torch.cat([ids, F.linear(network.hidden(ids)[:, -1:], head).argmax(-1)], dim=1)

    assert ids[:, 6:].tolist() == numbers.sort(dim=1).values.tolist()
