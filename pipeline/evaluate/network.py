"""A subject's network and tokenizer in memory."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from launch.environment import local_rank
from model import tokenizer as tokenizers
from model.config import GPTConfig
from model.tokenizer import Tokenizer
from model.transformer import GPT
from model.weights import load_model, load_network
from model.weights_config import read_config
from pipeline.errors import ConfigError, FormatError
from pipeline.formats.subject import Subject

_log = logging.getLogger("loglinear.evaluate")

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def pick_device(name: str) -> torch.device:
    """Return the device of a name; `auto` is a GPU where there is one: of several, this process's own."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device("cuda", local_rank()) if name == "cuda" else torch.device(name)


def load(subject: Subject, device: str, precision: str, tokenizer: Tokenizer) -> GPT:
    """Return the network, ready for inference, with as many ids as the tokenizer knows.

    Raises FormatError if its folder is not a whole GPT, or knows fewer ids than the tokenizer; ConfigError
    for one that sees what it would have to predict.
    """
    try:
        if not read_config(subject.model).causal:
            raise ConfigError(
                f"checkpoint: {subject.path} reads from both sides, so it gives a text no probability and "
                "writes none; fine-tune it, or see what it fills in with `python -m benchmarks.infilling`"
            )
        vocab_size = _vocab_size(subject, tokenizer)
        return load_network(subject.model, pick_device(device), DTYPES[precision], vocab_size)
    except (FileNotFoundError, ValueError) as fault:
        raise FormatError(str(fault)) from None


def load_weights(subject: Subject, tokenizer: Tokenizer | None) -> tuple[GPTConfig, dict[str, Tensor]]:
    """Return shape and weights on the CPU, as they are stored but for padding; FormatError as `load`."""
    try:
        return load_model(subject.model, _vocab_size(subject, tokenizer) if tokenizer else None)
    except (FileNotFoundError, ValueError) as fault:
        raise FormatError(str(fault)) from None


def load_tokenizer(subject: Subject) -> Tokenizer:
    """Return the tokenizer in the folder of the weights; FormatError if there is none of GPT's kinds."""
    try:
        return tokenizers.load(subject.model)
    except (FileNotFoundError, ValueError) as fault:
        raise FormatError(str(fault)) from None


def find_tokenizer(subject: Subject) -> Tokenizer | None:
    """Return the tokenizer in the folder of the weights, None if there is none; FormatError as above."""
    try:
        return tokenizers.load(subject.model)
    except FileNotFoundError:
        return None
    except ValueError as fault:
        raise FormatError(str(fault)) from None


def _vocab_size(subject: Subject, tokenizer: Tokenizer) -> int:
    """Return the ids that the tokenizer knows, and tell of those that it does not and the network has."""
    found = read_config(subject.model).vocab_size
    if found > tokenizer.vocab_size:
        _log.warning(
            "%s: a vocabulary of %d ids, but its tokenizer has %d; the other %d are padding and are left out",
            subject.model, found, tokenizer.vocab_size, found - tokenizer.vocab_size,
        )  # fmt: skip
    return tokenizer.vocab_size
