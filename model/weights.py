"""Weights on disk in Hugging Face's layouts `gpt2` and `openai-gpt`, and read from OpenAI's own releases too.

The names are GPT-2's published ones; what differs is that these layouts store the matrices of a block as (in,
out), may prefix every name with `transformer.`, may repeat the tied head, and may hold the causal mask as a
buffer; `openai-gpt` has other names for the two embeddings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from model import weights_openai
from model.config import Architecture, GPTConfig
from model.tokenizer import Tokenizer
from model.transformer import GPT
from model.weights_config import config_content, read_config

WEIGHTS = "model.safetensors"
METADATA = MappingProxyType({"format": "pt"})
"""What the header of that file must say for transformers to read it."""

_TRANSPOSED = re.compile(r"\.(c_attn|c_proj|c_fc)\.weight$")
_BUFFER = re.compile(r"(\.attn\.(bias|masked_bias)|^(transformer\.)?position_ids)$")
_GPT1_NAMES = {"wte.weight": "tokens_embed.weight", "wpe.weight": "positions_embed.weight"}
_GPT1_NAMES_BACK = {theirs: ours for ours, theirs in _GPT1_NAMES.items()}
_HEAD = "lm_head.weight"


def save_model(
    directory: Path, state: Mapping[str, Tensor], config: GPTConfig, tokenizer: Tokenizer | None = None
) -> None:
    """Write a folder that transformers, vLLM and lm-eval read: configuration, weights, tokenizer."""
    save_description(directory, config, tokenizer, dtype=state["wte.weight"].dtype)
    weights = directory / WEIGHTS
    save_file(to_hugging_face(state, config.architecture), weights, metadata=dict(METADATA))
    weights.chmod((directory / "config.json").stat().st_mode)  # safetensors lets nobody else read its files


def save_description(
    directory: Path, config: GPTConfig, tokenizer: Tokenizer | None = None, dtype: torch.dtype = torch.float32
) -> None:
    """Write all of such a folder but the weights, which are of a type.

    Without a tokenizer the end of a text is taken to be the last id, as GPT-2 has it, or the first
    (`model.tokenizer_gpt1`).
    """
    directory.mkdir(parents=True, exist_ok=True)
    usual_eot_id = config.vocab_size - 1 if config.architecture == "gpt2" else 0
    eot_id = tokenizer.eot_id if tokenizer else usual_eot_id
    content = config_content(config, eot_id, str(dtype).removeprefix("torch."))
    _write_json(directory / "config.json", content)
    _write_json(directory / "generation_config.json", {"bos_token_id": eot_id, "eos_token_id": eot_id})
    if tokenizer:
        tokenizer.save(directory)


def load_model(directory: Path, vocab_size: int | None = None) -> tuple[GPTConfig, dict[str, Tensor]]:
    """Return the shape and the weights, in our names and on the CPU, of a folder.

    It may be in Hugging Face's layouts, or in those of OpenAI's releases. Rows of the embedding past the
    vocabulary are padding, for speed, and are cut. The vocabulary is the configuration's, or has `vocab_size`
    ids: those of a tokenizer that knows fewer than a padded configuration says.

    Raises FileNotFoundError for a missing file, ValueError naming the file for what is not a GPT or not
    whole.
    """
    config, tensors = _read(directory)
    if vocab_size is not None and vocab_size != config.vocab_size:
        if vocab_size > config.vocab_size:
            raise ValueError(
                f"{directory}: a vocabulary of {config.vocab_size:,} ids, but the tokenizer has "
                f"{vocab_size:,}; give these weights their own tokenizer"
            )
        config = replace(config, vocab_size=vocab_size)
    try:
        state = from_hugging_face(_without_padding(tensors, config.vocab_size))
    except ValueError as fault:
        raise ValueError(f"{directory}: {fault}") from None
    _check_shapes(directory, state, config)
    return config, state


def load_network(
    directory: Path,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    vocab_size: int | None = None,
) -> GPT:
    """Return the model of a folder, ready for inference; its weights are not initialised first.

    `vocab_size` and errors are those of `load_model`.
    """
    config, state = load_model(directory, vocab_size)
    model = GPT(config, initialised=False)
    model.load_state_dict({name: tensor.to(device, dtype) for name, tensor in state.items()}, assign=True)
    return model.eval()


def published(name: str, architecture: Architecture = "gpt2") -> tuple[str, bool]:
    """Return what a weight is called in the published layout, and whether it lies turned there."""
    names = _GPT1_NAMES if architecture == "gpt1" else {}
    return names.get(name, name), bool(_TRANSPOSED.search(name))


def to_hugging_face(state: Mapping[str, Tensor], architecture: Architecture = "gpt2") -> dict[str, Tensor]:
    """Return the same weights in the published layout."""
    return {
        published(name, architecture)[0]: _turn(name, tensor).contiguous() for name, tensor in state.items()
    }


def from_hugging_face(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return our state of tensors in a published layout; ValueError if the head is not the embedding."""
    plain = {
        _GPT1_NAMES_BACK.get(bare := name.removeprefix("transformer."), bare): tensor
        for name, tensor in tensors.items()
        if not _BUFFER.search(name)
    }
    head = plain.pop(_HEAD, None)
    # Of two names for one matrix, some writers keep only the head's.
    if head is not None and not torch.equal(head, plain.setdefault("wte.weight", head)):
        raise ValueError("the output head differs from the token embedding, but these networks tie them")
    return {name: _turn(name, tensor).contiguous() for name, tensor in plain.items()}


def _turn(name: str, tensor: Tensor) -> Tensor:
    return tensor.t() if _TRANSPOSED.search(name) else tensor


def _read(directory: Path) -> tuple[GPTConfig, dict[str, Tensor]]:
    """Return the shape and the tensors, as they are published, of a folder in any layout known."""
    if weights_openai.architecture_of(directory):
        config, arrays = weights_openai.read(directory)
        return config, {name: torch.from_numpy(array) for name, array in arrays.items()}
    return read_config(directory), _read_tensors(directory)


def _without_padding(tensors: Mapping[str, Tensor], vocab_size: int) -> dict[str, Tensor]:
    """Return the tensors, of the matrices of tokens only the rows of a vocabulary."""
    padded = ("wte.weight", _GPT1_NAMES["wte.weight"], _HEAD)
    return {
        # A copy of the rows kept, so that the padding does not stay in memory with them.
        name: tensor[:vocab_size].clone() if name.endswith(padded) and len(tensor) > vocab_size else tensor
        for name, tensor in tensors.items()
    }


def _check_shapes(directory: Path, state: Mapping[str, Tensor], config: GPTConfig) -> None:
    layers = len({name.split(".")[1] for name in state if name.startswith("h.")})
    if layers != config.n_layer:  # told before so many are made, which may take for ever
        raise ValueError(
            f"{directory}: its configuration says {config.n_layer:,} layers, its weights are of {layers:,}"
        )
    with torch.device("meta"):  # a configuration may ask for more than there is memory
        shapes = GPT(config, initialised=False).state_dict()
    expected = {name: tensor.shape for name, tensor in shapes.items()}
    found = {name: tensor.shape for name, tensor in state.items()}
    if expected != found:
        wrong = sorted(name for name in expected | found if expected.get(name) != found.get(name))
        example = f"{wrong[0]} is {_shape(found, wrong[0])}, should be {_shape(expected, wrong[0])}"
        raise ValueError(f"{directory}: {len(wrong)} tensors do not fit the configuration there; {example}")


def _shape(shapes: Mapping[str, torch.Size], name: str) -> str:
    return str(tuple(shapes[name])) if name in shapes else "absent"


def _read_tensors(directory: Path) -> dict[str, Tensor]:
    names = _weight_files(directory / "model.safetensors.index.json")
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


def _weight_files(index: Path) -> set[str]:
    if not index.is_file():
        return {WEIGHTS}
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{index}: tells no files of weights ({error!r})") from error
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise ValueError(f"{index}: {name!r} is no name of a file beside it")
    return names


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
