"""The repetition rules of MassiveText (Rae et al. 2021, the Gopher paper, table A1)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

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
        words = split_words(text)
        for n, most in self.max_top_ngram.items():
            if top_ngram_characters(words, n) / len(text) > most:
                return f"top_{n}_grams"
        for n, most in self.max_repeated_ngrams.items():
            if repeated_characters(words, n) / len(text) > most:
                return f"repeated_{n}_grams"
        return None


def duplicates(pieces: Sequence[str]) -> tuple[float, int]:
    """Return the share of the pieces that occur earlier among them, and how many characters those have."""
    seen: set[str] = set()
    again = [piece for piece in pieces if piece in seen or seen.add(piece)]  # type: ignore[func-returns-value]
    return len(again) / max(1, len(pieces)), sum(map(len, again))


def top_ngram_characters(words: Sequence[str], n: int) -> int:
    """Return the characters in all occurrences of the most frequent n-gram, the blanks inside it counted."""
    if len(words) < n:
        return 0
    [(ngram, times)] = Counter(zip(*(words[offset:] for offset in range(n)), strict=False)).most_common(1)
    return (sum(map(len, ngram)) + n - 1) * times


def repeated_characters(words: Sequence[str], n: int) -> int:
    """Return the characters in n-grams that occurred before, each word counted once."""
    seen: set[tuple[str, ...]] = set()
    characters = place = 0
    while place <= len(words) - n:
        ngram = tuple(words[place : place + n])
        if ngram in seen:
            characters += sum(map(len, ngram))
            place += n
        else:
            seen.add(ngram)
            place += 1
    return characters
