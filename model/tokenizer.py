"""Text to token ids and back: what every tokenizer can do, and finding the one that was saved.

`tokenizer_bytes` has GPT-2's and those trained on a corpus, `tokenizer_gpt1` GPT-1's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from model.tokenizer_bytes import GPT2_SHA256, from_hugging_face, from_openai, gpt2, train

__all__ = ["Tokenizer", "gpt2", "load", "train"]


class Tokenizer(Protocol):
    """Text to ids and back, with one special id that ends a text."""

    name: str
    vocab_size: int
    eot_id: int

    @property
    def fingerprint(self) -> str:
        """Hash of everything that decides what the ids mean (32 hex digits)."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; a special token spelled out in it is ordinary text."""

    def encode_array(self, text: str) -> npt.NDArray[np.uint32]:
        """Return the ids of a text as `encode` does, in an array."""

    def encode_batch(self, texts: Sequence[str], threads: int = 1) -> list[list[int]]:
        """Return the ids of each text, as `encode` gives them."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of some ids; bytes that are not UTF-8 become U+FFFD."""

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """Return the bytes of some ids, which may begin or end within a character."""

    def byte_lengths(self) -> list[int]:
        """Return the bytes of text behind each id; end of text has none."""

    def save(self, directory: Path) -> None:
        """Write the files by which transformers' AutoTokenizer and `load` find the same tokenizer again."""


def load(directory_or_name: str | Path) -> Tokenizer:
    """Return the tokenizer called `gpt2`, or the one saved in a directory (ours, any byte-level GPT-2 one,
    GPT-1's; in Hugging Face's files, or those that OpenAI released).

    Raises FileNotFoundError if there is none, ValueError naming the file if it is of another kind.
    """
    if str(directory_or_name) == "gpt2":
        return gpt2()
    directory = Path(directory_or_name)
    path = directory / "tokenizer.json"
    if not path.is_file():
        return _released(directory)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["model"].get("end_of_word_suffix"):
            from model import tokenizer_gpt1

            return tokenizer_gpt1.from_hugging_face(_saved_name(directory), content)
        return from_hugging_face(_saved_name(directory), content)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not a BPE tokenizer that we know ({error!r})") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _released(directory: Path) -> Tokenizer:
    """Return the tokenizer of the two files that OpenAI's releases of GPT-1 and GPT-2 have."""
    if all((directory / name).is_file() for name in GPT2_SHA256):
        return from_openai(directory)
    if (directory / "encoder_bpe_40000.json").is_file():
        from model.tokenizer_gpt1 import gpt1

        return gpt1(directory)
    raise FileNotFoundError(
        f"{directory}: no tokenizer.json here; give a folder that holds one, or the name gpt2"
    )


def _saved_name(directory: Path) -> str:
    path = directory / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return str(config.get("name", directory.name))
