"""Texts as sets of numbers: normalised words, and 64-bit hashes that stand for runs of them (n-grams).

The hashes are the same in every process and version, so they may lie on disk. They are well mixed: parts of
the hash space of equal width hold about as many each. Part p of P is [p, p + 1) times 2^64 / P.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

_NORMAL = re.compile(r"[^\W_]+")
_ASCII_BLANKS = bytes(code if chr(code).isalnum() else 32 for code in range(128)) + bytes(128)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)

Hashes = npt.NDArray[np.uint64]


def normal_words(text: str) -> list[str]:
    """Return the lower-case alphanumeric words: what is compared when texts are called equal."""
    lowered = text.lower()
    if lowered.isascii():  # the same words, without a regular expression
        return lowered.encode().translate(_ASCII_BLANKS).decode().split()
    return _NORMAL.findall(lowered)


def normal_digest(words: Sequence[str]) -> bytes:
    """Return 16 bytes that two texts share if and only if their normalised words are the same."""
    return hashlib.blake2b(" ".join(words).encode(), digest_size=16).digest()


@lru_cache(maxsize=1 << 18)
def word_hash(word: str) -> int:
    """Return 64 bits that stand for a word, the same in every process (unlike `hash`)."""
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")


def word_hashes(words: Iterable[str]) -> Hashes:
    """Return one hash per word (words,)."""
    return np.fromiter(map(word_hash, words), dtype=np.uint64)


def ngram_hashes(words: Hashes, n: int) -> Hashes:
    """Return one hash for each run of n words, in order (max(0, words - n + 1),)."""
    count = len(words) - n + 1
    if count < 1:
        return np.empty(0, dtype=np.uint64)
    total = np.zeros(count, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for offset in range(n):
            # Positions weigh differently (Horner's rule with an odd factor), so the order of words counts.
            total = total * _GOLDEN + words[offset : offset + count]
    return mixed(total)


def mixed(values: Any) -> Hashes:
    """Return well-spread 64-bit values, a bijection of the given ones (the finaliser of SplitMix64, Steele
    2014).
    """
    with np.errstate(over="ignore"):
        z = np.asarray(values, dtype=np.uint64) + _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def edges(parts: int) -> Hashes:
    """Return where the parts begin (parts + 1,); the end of the last, 2^64, is written 0."""
    return np.array([(part << 64) // parts % (1 << 64) for part in range(parts + 1)], dtype=np.uint64)


def by_part(hashes: Hashes, parts: int) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Yield each part that some hashes lie in, and where these stand."""
    part_of = np.searchsorted(edges(parts)[:-1], hashes, side="right") - 1
    order = np.argsort(part_of, kind="stable")
    found, starts = np.unique(part_of[order], return_index=True)
    for part, start, end in zip(found, starts, [*starts[1:], len(order)], strict=False):
        yield int(part), order[start:end]
