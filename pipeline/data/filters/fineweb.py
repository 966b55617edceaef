"""The rules that FineWeb adds to Gopher's and C4's (Penedo et al. 2024, section 3.6)."""

from __future__ import annotations

import functools
from typing import Any

from pipeline.config import Schema, identity
from pipeline.data.filters.gopher_repetition import duplicates
from pipeline.data.words import split_words

KEEPS = ["This is a sentence of the usual length.\nAnd this is another one, which also ends as it should."]
DROPS = [
    (
        "A line without an end that goes on for a while\n" * 1
        + "and another without an end, longer than thirty",
        "line_ends",
    ),
    ("Short line.\nAnother one.\nA third.\n", "short_lines"),
    ("A sentence that is repeated word for word.\n" * 3, "duplicate_characters"),
]


class Config(Schema):
    """The thresholds, all from the paper."""

    min_punctuated_lines: float = identity(0.12, ge=0, le=1, description="share of lines that end a sentence")
    max_short_lines: float = identity(
        0.67, ge=0, le=1, description="share of lines of `short_line` characters or less"
    )
    short_line: int = identity(30, ge=0)
    max_duplicate_characters: float = identity(
        0.01, ge=0, le=1, description="share of characters in repeated lines"
    )
    max_newlines_per_word: float = identity(0.3, ge=0)

    def build(self) -> Any:
        """Return the filter's step."""
        from pipeline.data.rule import Rule

        return Rule("fineweb", self.judge)

    def judge(self, document: Any) -> str | None:
        """Return why the document goes, or None if it stays."""
        text = document.text
        lines = [line for line in text.split("\n") if line.strip()]
        if not lines:
            return "empty"
        ends = _line_ends()
        if sum(line[-1] in ends for line in lines) / len(lines) < self.min_punctuated_lines:
            return "line_ends"
        if sum(len(line) <= self.short_line for line in lines) / len(lines) > self.max_short_lines:
            return "short_lines"
        newlines = text.count("\n")
        if duplicates(lines)[1] / (len(text) - newlines) > self.max_duplicate_characters:
            return "duplicate_characters"
        most = self.max_newlines_per_word
        if newlines <= most * len(text.split()):  # a blank ends a word, so there are at least as many
            return None
        return "newlines" if newlines / len(split_words(text)) > most else None


@functools.cache
def _line_ends() -> frozenset[str]:
    """Return the marks that end a sentence in any script; quotation marks are none of them."""
    from datatrove.utils.text import TERMINAL_PUNCTUATION

    return frozenset(TERMINAL_PUNCTUATION)
