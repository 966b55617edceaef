"""Weights on disk in Hugging Face's `gpt2` layout, and the mapping between its names and ours.

The names are the published ones; what differs is that the layout stores the matrices of a block as (in, out),
may prefix every name with `transformer.`, may repeat the tied head, and may hold the causal mask as a buffer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.config import POSITION_STD_RELEASED, GPTConfig
from model.tokenizer import Tokenizer
from model.transformer import GPT, LAYER_NORM_EPS, WEIGHT_STD

_TRANSPOSED = re.compile(r"\.(c_attn|c_proj|c_fc)\.weight$")
_BUFFER = re.compile(r"\.attn\.(bias|masked_bias)$")

# What a config.json may say and our network cannot do otherwise; absent keys mean these values.
_FIXED = {
    "model_type": "gpt2",
    "activation_function": "gelu_new",
    "layer_norm_epsilon": LAYER_NORM_EPS,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "reorder_and_upcast_attn": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}
_SHAPE = {
    "n_layer": "n_layer",
    "n_head": "n_head",
    "n_embd": "n_embd",
    "n_positions": "n_ctx",
    "vocab_size": "vocab_size",
}


def save_model(
    directory: Path, state: Mapping[str, Tensor], config: GPTConfig, tokenizer: Tokenizer | None = None
) -> None:
    """Write a folder that transformers, vLLM and lm-eval read: configuration, weights, tokenizer."""
    directory.mkdir(parents=True, exist_ok=True)
    eot_id = tokenizer.eot_id if tokenizer else config.vocab_size - 1
    dtype = str(state["wte.weight"].dtype).removeprefix("torch.")
    _write_json(directory / "config.json", _hugging_face_config(config, eot_id, dtype))
    _write_json(directory / "generation_config.json", {"bos_token_id": eot_id, "eos_token_id": eot_id})
    save_file(to_hugging_face(state), directory / "model.safetensors", metadata={"format": "pt"})
    if tokenizer:
        tokenizer.save(directory)


def load_model(directory: Path) -> tuple[GPTConfig, dict[str, Tensor]]:
    """Return the shape and the weights, in our names and on the CPU, of a folder in Hugging Face's gpt2
    layout.

    Raises FileNotFoundError for a missing file, ValueError naming the file for what is not a GPT-2 or not
    whole.
    """
    config = read_config(directory)
    state = from_hugging_face(_read_tensors(directory))
    shapes = GPT(config, initialised=False).state_dict()  # memory that is never touched
    expected = {name: tensor.shape for name, tensor in shapes.items()}
    found = {name: tensor.shape for name, tensor in state.items()}
    if expected != found:
        wrong = sorted(name for name in expected | found if expected.get(name) != found.get(name))
        example = f"{wrong[0]} is {found.get(wrong[0])}, should be {expected.get(wrong[0])}"
        raise ValueError(f"{directory}: {len(wrong)} tensors do not fit config.json; {example}")
    return config, state


def load_network(
    directory: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> GPT:
    """Return the model of a folder, ready for inference; its weights are not initialised first."""
    config, state = load_model(directory)
    model = GPT(config, initialised=False)
    model.load_state_dict({name: tensor.to(device, dtype) for name, tensor in state.items()}, assign=True)
    return model.eval()


def read_config(directory: Path) -> GPTConfig:
    """Return the shape in a folder's config.json; raises as `load_model`."""
    path = directory / "config.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{directory}: no config.json here; give a folder in Hugging Face's gpt2 layout"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        odd = [
            f"{key} is {content[key]!r}, not {value!r}"
            for key, value in _FIXED.items()
            if content.get(key, value) != value
        ]
        if odd or content.get("n_inner") not in (None, 4 * content["n_embd"]):
            raise ValueError(f"not GPT-2's network: {'; '.join(odd) or 'n_inner is not 4 * n_embd'}")
        shape = {ours: int(content[theirs]) for theirs, ours in _SHAPE.items()}
        rates = {float(content.get(key, 0.1)) for key in ("embd_pdrop", "attn_pdrop", "resid_pdrop")}
        ours = content.get("loglinear", {})
        return GPTConfig(
            **shape,
            dropout=max(rates),
            position_std=ours.get("position_std", POSITION_STD_RELEASED),
            label=ours.get("label", ""),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: {error}") from error


def to_hugging_face(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the same weights in the published layout."""
    return {name: _turn(name, tensor).contiguous() for name, tensor in state.items()}


def from_hugging_face(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return our state of tensors in the published layout; ValueError if the head is not the embedding."""
    plain = {
        name.removeprefix("transformer."): tensor
        for name, tensor in tensors.items()
        if not _BUFFER.search(name)
    }
    head = plain.pop("lm_head.weight", None)
    if head is not None and not torch.equal(head, plain["wte.weight"]):
        raise ValueError("the output head differs from the token embedding, but GPT-2 ties them")
    return {name: _turn(name, tensor).contiguous() for name, tensor in plain.items()}


def _turn(name: str, tensor: Tensor) -> Tensor:
    return tensor.t() if _TRANSPOSED.search(name) else tensor


def _read_tensors(directory: Path) -> dict[str, Tensor]:
    index = directory / "model.safetensors.index.json"
    names = {"model.safetensors"}
    if index.is_file():
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    tensors: dict[str, Tensor] = {}
    for name in sorted(names):
        path = directory / name
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file; weights are read from safetensors only")
        try:
            tensors |= load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path}: not a whole safetensors file ({error})") from error
    return tensors


def _hugging_face_config(config: GPTConfig, eot_id: int, dtype: str) -> dict[str, Any]:
    shape = {theirs: getattr(config, ours) for theirs, ours in _SHAPE.items()}
    return {
        "architectures": ["GPT2LMHeadModel"],
        **_FIXED,
        **shape,
        "n_ctx": config.n_ctx,
        "n_inner": None,
        "embd_pdrop": config.dropout,
        "attn_pdrop": config.dropout,
        "resid_pdrop": config.dropout,
        "initializer_range": WEIGHT_STD,
        "bos_token_id": eot_id,
        "eos_token_id": eot_id,
        "torch_dtype": dtype,
        "use_cache": True,
        "loglinear": {"label": config.label, "position_std": config.position_std},
    }


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
