"""The repetition rules of MassiveText (Rae et al. 2021, the Gopher paper, table A1)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config import Schema, identity
from pipeline.data.words import split_words

KEEPS = [
    "It was a bright cold day in spring, and every clock in the old town struck a different hour.\n\n"
    "Nobody minded. People there had long agreed to trust the baker, whose bread came out on time.",
]
DROPS = [
    (
        "\n\n".join(["Subscribe to our newsletter now."] * 3 + ["One line of its own stands here."]),
        "paragraphs",
    ),
    ("\n".join(["Home", "Home", "News about the town and its people, for once, in some detail."]), "lines"),
    (" ".join(f"so what {number}" for number in range(30)), "top_2_grams"),
    (" and ".join([" ".join(f"word{number}" for number in range(40))] * 2), "repeated_5_grams"),
]

_PARAGRAPHS = re.compile(r"\n{2,}")
_LINES = re.compile(r"\n+")

Integers = npt.NDArray[np.int64]


class Config(Schema):
    """The thresholds, all from table A1: shares of lines and paragraphs, shares of characters."""

    max_duplicate_lines: float = identity(0.30, ge=0, le=1)
    max_duplicate_paragraphs: float = identity(0.30, ge=0, le=1)
    max_duplicate_line_characters: float = identity(0.20, ge=0, le=1)
    max_duplicate_paragraph_characters: float = identity(0.20, ge=0, le=1)
    max_top_ngram: dict[int, float] = identity(
        {2: 0.20, 3: 0.18, 4: 0.16}, description="share of characters in the most frequent n-gram, by n"
    )
    max_repeated_ngrams: dict[int, float] = identity(
        {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10},
        description="share of characters in n-grams that occur before, by n",
    )

    def build(self) -> Any:
        """Return the filter's step."""
        from pipeline.data.rule import Rule

        return Rule("gopher_repetition", self.judge)

    def judge(self, document: Any) -> str | None:
        """Return why the document goes, or None if it stays."""
        text = document.text
        if not text:
            return "empty"
        paragraphs, characters = duplicates(_PARAGRAPHS.split(text.strip()))
        if paragraphs > self.max_duplicate_paragraphs:
            return "paragraphs"
        if characters / len(text) > self.max_duplicate_paragraph_characters:
            return "paragraph_characters"
        lines, characters = duplicates(_LINES.split(text))
        if lines > self.max_duplicate_lines:
            return "lines"
        if characters / len(text) > self.max_duplicate_line_characters:
            return "line_characters"
        return self._by_ngrams(text)

    def _by_ngrams(self, text: str) -> str | None:
        words = Words(split_words(text))
        top, repeated = self.max_top_ngram, self.max_repeated_ngrams
        longest = max([*top, *repeated], default=0)
        for n, starts, names in words.recurring(longest):
            if n in top and words.top_characters(n, starts, names) / len(text) > top[n]:
                return f"top_{n}_grams"
            if n in repeated and words.repeated_characters(n, starts, names) / len(text) > repeated[n]:
                return f"repeated_{n}_grams"
        return None


def duplicates(pieces: Sequence[str]) -> tuple[float, int]:
    """Return the share of the pieces that occur earlier among them, and how many characters those have."""
    seen: set[str] = set()
    again = [piece for piece in pieces if piece in seen or seen.add(piece)]  # type: ignore[func-returns-value]
    return len(again) / max(1, len(pieces)), sum(map(len, again))


class Words:
    """The words of a text as numbers, equal where the words are, and how many characters they have."""

    def __init__(self, words: Sequence[str]):
        numbers = {word: number for number, word in enumerate(dict.fromkeys(words))}
        self._names: Integers = np.fromiter(map(numbers.__getitem__, words), np.int64, len(words))
        # Before each word, and in all.
        self._characters: Integers = np.zeros(len(words) + 1, dtype=np.int64)
        np.cumsum(np.fromiter(map(len, words), np.int64, len(words)), out=self._characters[1:])

    def recurring(self, longest: int) -> Iterator[tuple[int, Integers, Integers]]:
        """Yield n, where the n-grams that occur more than once begin, and their names; n from 1 to `longest`.

        An n-gram recurs only if the one shorter by a word does, so each round looks at what the last left: in
        prose next to nothing from n = 4 on.
        """
        starts, names = np.arange(len(self._names)), self._names
        for n in range(1, longest + 1):
            often = np.bincount(names)[names] > 1 if len(names) else np.zeros(0, dtype=bool)
            starts, names = starts[often], names[often]
            yield n, starts, names
            inside = starts + n < len(self._names)
            starts, names = starts[inside], names[inside]
            pairs = names * len(self._names) + self._names[starts + n]
            names = np.unique(pairs, return_inverse=True)[1]

    def top_characters(self, n: int, starts: Integers, names: Integers) -> int:
        """Return the characters in all occurrences of the most frequent n-gram, the blanks inside it counted.

        Of several the first in the text is taken, also where no n-gram recurs.
        """
        if len(self._names) < n:
            return 0
        if not len(starts):
            return self._length(0, n) + n - 1
        times = np.bincount(names)[names]
        first = int(np.argmax(times))
        return (self._length(int(starts[first]), n) + n - 1) * int(times[first])

    def repeated_characters(self, n: int, starts: Integers, names: Integers) -> int:
        """Return the characters in n-grams that occurred before, each word counted once."""
        seen: set[int] = set()
        characters = free = 0
        for start, name in zip(starts.tolist(), names.tolist(), strict=True):
            if start < free:
                continue  # inside one that is counted
            if name in seen:
                characters += self._length(start, n)
                free = start + n
            seen.add(name)
        return characters

    def _length(self, start: int, n: int) -> int:
        return int(self._characters[start + n] - self._characters[start])
