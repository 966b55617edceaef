"""The `config.json` of Hugging Face's `gpt2` and `openai-gpt`: the shape it tells, and what it must say.

Networks that Hugging Face has no layout for, `lstm` and `bidirectional`, are told of in the same way under
model types of our own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from model import weights_openai
from model.config import LAYER_NORM_EPS, POSITION_STD_RELEASED, WEIGHT_STD, Architecture, GPTConfig
from model.weights_openai import GPT1_POSITION_STD, labelled

# What a config.json may say and our network cannot do otherwise; absent keys mean these values.
_FIXED = {"layer_norm_epsilon": LAYER_NORM_EPS, "tie_word_embeddings": True}
_SHAPE = {
    "n_layer": "n_layer",
    "n_head": "n_head",
    "n_embd": "n_embd",
    "n_positions": "n_ctx",
    "vocab_size": "vocab_size",
}
BIDIRECTIONAL = "bidirectional"
_DROPOUTS = ("embd_pdrop", "attn_pdrop", "resid_pdrop")


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """A kind of network by its model type; `position_std` is for those that we did not write."""

    architecture: Architecture | None
    network: str
    fixed: Mapping[str, Any]
    position_std: float


_KINDS: Mapping[str, _Kind] = MappingProxyType(
    {
        "gpt2": _Kind(
            architecture="gpt2",
            network="GPT2LMHeadModel",
            fixed={
                **_FIXED,
                "activation_function": "gelu_new",
                "scale_attn_weights": True,
                "scale_attn_by_inverse_layer_idx": False,
                "reorder_and_upcast_attn": False,
                "add_cross_attention": False,
            },
            position_std=POSITION_STD_RELEASED,
        ),
        "openai-gpt": _Kind(
            architecture="gpt1",
            network="OpenAIGPTLMHeadModel",
            fixed={**_FIXED, "afn": "gelu"},  # there it means the tanh approximation, as in OpenAI's code
            position_std=GPT1_POSITION_STD,
        ),
        "lstm": _Kind(architecture="lstm", network="LSTM", fixed=_FIXED, position_std=POSITION_STD_RELEASED),
        BIDIRECTIONAL: _Kind(
            architecture=None, network="BidirectionalGPT", fixed=_FIXED, position_std=POSITION_STD_RELEASED
        ),
    }
)


def read_config(directory: Path) -> GPTConfig:
    """Return the shape of a folder's model, in Hugging Face's layouts or as OpenAI released it.

    Raises FileNotFoundError if nothing tells it, ValueError naming the file if it is of another network.
    """
    if weights_openai.architecture_of(directory):
        return weights_openai.read_config(directory)
    path = directory / "config.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{directory}: no config.json here; give a folder in Hugging Face's or OpenAI's layout"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        model_type, kind = _kind(content)
        _check(content, kind)
        ours = content.get("loglinear", {})
        shape: dict[str, Any] = {ours: int(content[theirs]) for theirs, ours in _SHAPE.items()}
        config = GPTConfig(
            architecture=kind.architecture or ours["architecture"],
            **shape,
            n_hidden=ours.get("n_hidden"),
            dropout=max(float(content.get(key, 0.1)) for key in _DROPOUTS),
            causal=model_type != BIDIRECTIONAL,
            position_std=ours.get("position_std", kind.position_std),
            label=ours.get("label", ""),
        )
        return config if ours else labelled(config)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: {error}") from error


def config_content(config: GPTConfig, eot_id: int, dtype: str) -> dict[str, Any]:
    """Return the config.json of a network, with a key `loglinear` for what the layout has no place for."""
    model_type = next(
        name
        for name, kind in _KINDS.items()
        if kind.architecture == (config.architecture if config.causal else None)
    )
    kind = _KINDS[model_type]
    ours = {"label": config.label, "position_std": config.position_std}
    if not config.causal:
        ours["architecture"] = config.architecture
    if config.n_hidden:
        ours["n_hidden"] = config.n_hidden
    return {
        "architectures": [kind.network],
        "model_type": model_type,
        **kind.fixed,
        **{theirs: getattr(config, ours) for theirs, ours in _SHAPE.items()},
        "n_ctx": config.n_ctx,
        **({"n_inner": None} if config.architecture == "gpt2" else {}),
        **dict.fromkeys(_DROPOUTS, config.dropout),
        "initializer_range": WEIGHT_STD,
        "bos_token_id": eot_id,
        "eos_token_id": eot_id,
        "torch_dtype": dtype,
        "use_cache": True,
        "loglinear": ours,
    }


def _kind(content: Mapping[str, Any]) -> tuple[str, _Kind]:
    model_type = content.get("model_type", "gpt2")
    if model_type not in _KINDS:
        raise ValueError(f"model_type is {model_type!r}, not {' or '.join(map(repr, _KINDS))}")
    return model_type, _KINDS[model_type]


def _check(content: Mapping[str, Any], kind: _Kind) -> None:
    """Raise ValueError for what would be read without complaint and compute something else."""
    odd = [
        f"{key} is {content[key]!r}, not {value!r}"
        for key, value in kind.fixed.items()
        if content.get(key, value) != value
    ]
    if content.get("n_inner") not in (None, 4 * content["n_embd"]):
        odd.append(f"n_inner is {content['n_inner']!r}, not 4 * n_embd")
    if odd:
        raise ValueError(f"not the network of {kind.network}: {'; '.join(odd)}")
