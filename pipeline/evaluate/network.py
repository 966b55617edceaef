"""A subject's network and tokenizer in memory."""

from __future__ import annotations

import torch

from model import tokenizer as tokenizers
from model.tokenizer import Tokenizer
from model.transformer import GPT
from model.weights import load_network
from pipeline.errors import FormatError
from pipeline.evaluate.subject import Subject

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def pick_device(name: str) -> torch.device:
    """Return the device of a name; `auto` is the GPU where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def load(subject: Subject, device: str, precision: str) -> GPT:
    """Return the network, ready for inference; FormatError if its folder is not a whole GPT-2."""
    try:
        return load_network(subject.model, pick_device(device), DTYPES[precision])
    except (FileNotFoundError, ValueError) as fault:
        raise FormatError(str(fault)) from None


def load_tokenizer(subject: Subject) -> Tokenizer:
    """Return the tokenizer in the folder of the weights; FormatError if there is none of GPT-2's kind."""
    try:
        return tokenizers.load(subject.model)
    except (FileNotFoundError, ValueError) as fault:
        raise FormatError(str(fault)) from None
