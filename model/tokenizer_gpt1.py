"""GPT-1's tokenizer: text is cleaned, cut into words by spaCy, put into lower case, and cut into pieces.

Unlike GPT-2's it forgets: capitals, the kinds of dashes and quotes, and where spaces stood; a character
outside the vocabulary becomes `<unk>`. The cleaning is that of OpenAI's code (openai/finetune-transformer-lm,
text_utils.py). Needs the extra `[gpt1]`: ftfy, and spaCy, whose English rules are the definition of a word.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

UNKNOWN = "<unk>"
WORD_END = "</w>"
PUBLISHED = "https://raw.githubusercontent.com/openai/finetune-transformer-lm/a69b5c43b0452462890bca8ff92fb75dee9290cf/model"
SHA256 = {
    "encoder_bpe_40000.json": "fdf49b19e7de236852091da09b84a7a3cd5e7b0e79916376cf45f6b8127b8078",
    "vocab_40000.bpe": "0ea9b51ae695073cd871e0358f7016311d671a7ff3963e367d5236522f294725",
}
CACHED_WORDS = 1 << 17

_DASHES = str.maketrans({"—": "-", "–": "-", "―": "-", "…": "...", "´": "'"})
_RUNS = re.compile(r"""(-+|~+|!+|"+|;+|\?+|\++|,+|\)+|\(+|\\+|/+|\*+|\[+|\]+|}+|{+|\|+|_+)""")
_LINE_END = re.compile(r"\s*\n\s*")
_SPACES = re.compile(r"[^\S\n]+")
_NEWLINE = "\n "  # a line's end as spaCy sees it: the space after belongs to it


class Gpt1Tokenizer:
    """BPE of words, from a vocabulary of pieces (`</w>` ends a word) and the merges in their order.

    GPT-1 has no id that ends a text, and its matrix of 40,478 rows none to spare. `<unk>` is the only one
    that no text spells, so it ends documents here; where one truly ends, a shard's index tells.
    Raises ValueError when the vocabulary has no `<unk>`, or ids other than 0 to its length.
    """

    def __init__(self, name: str, vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]]):
        from tokenizers import models

        if UNKNOWN not in vocabulary or {*vocabulary.values()} != set(range(len(vocabulary))):
            raise ValueError(f"tokenizer {name}: no {UNKNOWN}, or ids are not 0 to {len(vocabulary) - 1}")
        self.name = name
        self.vocab_size = len(vocabulary)
        self.eot_id = vocabulary[UNKNOWN]
        self._vocabulary, self._merges = dict(vocabulary), list(merges)
        self._model = models.BPE(
            vocab=self._vocabulary, merges=self._merges, unk_token=UNKNOWN, end_of_word_suffix=WORD_END
        )
        self._pieces = functools.lru_cache(CACHED_WORDS)(self._pieces_of)
        self._bytes = [b""] * self.vocab_size
        for piece, id in vocabulary.items():
            if id != self.eot_id:
                text = piece.replace(WORD_END, "" if piece == f"\n{WORD_END}" else " ")
                self._bytes[id] = text.encode()

    @cached_property
    def fingerprint(self) -> str:
        """Hash of what the ids mean, vocabulary and merges (32 hex digits).

        Not of the versions of spaCy and ftfy, which decide about one word in very many.
        """
        content = json.dumps([sorted(self._vocabulary.items()), self._merges, self.eot_id])
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; a special token spelled out in it is ordinary text."""
        return [id for word in self._words(text) for id in self._pieces(word)]

    def encode_array(self, text: str) -> npt.NDArray[np.uint32]:
        """Return the ids of a text as `encode` does, in an array."""
        return np.array(self.encode(text), dtype=np.uint32)

    def encode_batch(self, texts: Sequence[str], threads: int = 1) -> list[list[int]]:
        """Return the ids of each text; spaCy holds the interpreter, so more threads would gain nothing."""
        del threads
        return [self.encode(text) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of some ids: lower case, a space after each word."""
        return self.decode_bytes(ids).decode()

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """Return the bytes of some ids."""
        return b"".join(self._bytes[id] for id in ids)

    def byte_lengths(self) -> list[int]:
        """Return the bytes of (cleaned) text behind each id; end of text has none."""
        return [len(each) for each in self._bytes]

    def save(self, directory: Path) -> None:
        """Write the files by which transformers and `model.tokenizer.load` find the same vocabulary again.

        transformers (since 5.0) cleans and splits by BERT's rules, so its ids differ at some words.
        """
        directory.mkdir(parents=True, exist_ok=True)
        merges = [f"{left} {right}" for left, right in self._merges]
        files = {
            "tokenizer.json": _hugging_face_tokenizer(self._vocabulary, merges),
            "tokenizer_config.json": {
                "tokenizer_class": "OpenAIGPTTokenizer",
                "unk_token": UNKNOWN,
                "name": self.name,
            },
            "vocab.json": self._vocabulary,
        }
        for name, content in files.items():
            (directory / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        (directory / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")

    def _words(self, text: str) -> Iterator[str]:
        fix_text, language = _libraries()
        with language.memory_zone():  # else spaCy keeps every word it ever saw
            for token in language.tokenizer(standardize(fix_text(text))):
                yield token.text.lower()

    def _pieces_of(self, word: str) -> list[int]:
        return [piece.id for piece in self._model.tokenize("\n" if word == _NEWLINE else word)]


def standardize(text: str) -> str:
    """Return text with plain dashes, runs of punctuation set apart, and single spaces and line ends."""
    text = _RUNS.sub(r" \1 ", text.translate(_DASHES))
    return _SPACES.sub(" ", _LINE_END.sub(" \n ", text)).strip()


def gpt1(source: str | Path = PUBLISHED) -> Gpt1Tokenizer:
    """Return GPT-1's tokenizer (40,478 ids) from a folder or address that holds OpenAI's two files.

    Raises ValueError if a file is not the published one, OSError if there is none.
    """
    content = {name: _read(str(source), name) for name in SHA256}
    for name, sha256 in SHA256.items():
        if (found := hashlib.sha256(content[name]).hexdigest()) != sha256:
            raise ValueError(f"{source}/{name}: sha256 {found}, but the published file has {sha256}")
    vocabulary, merges = content.values()
    lines = merges.decode().split("\n")[1:-1]  # the first tells the version
    return Gpt1Tokenizer("gpt1", json.loads(vocabulary), [_pair(line) for line in lines])


def from_hugging_face(name: str, content: Mapping[str, Any]) -> Gpt1Tokenizer:
    """Return the tokenizer of a `tokenizer.json`; ValueError if its words end in something else."""
    model = content["model"]
    if model["type"] != "BPE" or model["end_of_word_suffix"] != WORD_END:
        raise ValueError(f"not a BPE tokenizer of GPT-1's kind, whose words end in {WORD_END}")
    merges = [_pair(merge) if isinstance(merge, str) else (merge[0], merge[1]) for merge in model["merges"]]
    return Gpt1Tokenizer(name, model["vocab"], merges)


def _read(source: str, name: str) -> bytes:
    if source.startswith(("http://", "https://")):
        with urllib.request.urlopen(f"{source}/{name}", timeout=60) as reply:
            return bytes(reply.read())
    return (Path(source) / name).read_bytes()


def _pair(line: str) -> tuple[str, str]:
    left, right = line.split(" ")
    return left, right


@functools.cache
def _libraries() -> tuple[Callable[[str], str], Any]:
    """Return ftfy's cleaning and spaCy's English; ImportError with the remedy."""
    try:
        from ftfy import fix_text
        from spacy.lang.en import English
    except ImportError as fault:
        raise ImportError(
            f"GPT-1's tokenizer needs spaCy and ftfy ({fault}): pip install loglinear[gpt1]"
        ) from fault
    return fix_text, English()


def _hugging_face_tokenizer(vocabulary: Mapping[str, int], merges: list[str]) -> dict[str, Any]:
    special = dict.fromkeys(["single_word", "lstrip", "rstrip", "normalized"], False) | {"special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": vocabulary[UNKNOWN], "content": UNKNOWN, **special}],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": None,
        "decoder": {"type": "BPEDecoder", "suffix": WORD_END},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": UNKNOWN,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": WORD_END,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": merges,
        },
    }
