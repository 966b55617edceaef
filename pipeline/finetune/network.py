"""A pretrained network made ready for a task: three more ids, a head, and as many of its layers as asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from model import tokenizer as tokenizers
from model.finetuned import FineTuned
from model.tokenizer import Tokenizer
from model.transformer import GPT
from model.weights import load_model
from pipeline.errors import ConfigError, FormatError
from pipeline.finetune.rows import Head
from pipeline.finetune.transform import SPECIAL_IDS

NOTHING = -1
"""The number of transferred layers that leaves out the embeddings too: a network without pre-training."""


def tokenizer_of(folder: Path) -> Tokenizer:
    """Return the tokenizer in a folder of weights; FormatError if there is none of GPT's kinds."""
    try:
        return tokenizers.load(folder)
    except (FileNotFoundError, ValueError) as fault:
        raise FormatError(str(fault)) from None


def network(
    folder: Path,
    tokenizer: Tokenizer,
    head: Head,
    *,
    layers: int | None,
    dropout: float | None,
    classifier_dropout: float,
    seed: int,
) -> FineTuned:
    """Return the network of a folder with a head, whatever is new drawn by `seed`.

    `layers` are taken over of its blocks, the embeddings before them; all and what follows them where None,
    nothing where -1. `dropout` takes the place of the network's own. The rows of the special tokens are new
    (N(0, 0.02), released code) but in a network that was pre-trained with them.
    """
    known = tokenizer.vocab_size
    try:
        shape, state = load_model(folder)
        if shape.causal or shape.vocab_size < known + SPECIAL_IDS:
            shape, state = load_model(folder, known)  # rows past the vocabulary are padding
    except (FileNotFoundError, ValueError) as fault:
        raise FormatError(str(fault)) from None
    if layers is not None and layers > shape.n_layer:
        raise ConfigError(f"transferred_layers: {layers}, but {folder} has {shape.n_layer}")
    ids = max(shape.vocab_size, known + SPECIAL_IDS)
    torch.manual_seed(seed)
    body = GPT(replace(shape, vocab_size=ids, dropout=shape.dropout if dropout is None else dropout))
    own = body.state_dict()
    with torch.no_grad():
        for name, tensor in state.items():
            if _is_taken(name, layers):
                own[name][: len(tensor)] = tensor
    return FineTuned(body, head.reading, head.outputs, classifier_dropout)


def _is_taken(name: str, layers: int | None) -> bool:
    """Tell whether a parameter is taken over."""
    if layers is None:
        return True
    part, _, rest = name.partition(".")
    if part == "h":
        return int(rest.partition(".")[0]) < layers
    return part in ("wte", "wpe") and layers != NOTHING
