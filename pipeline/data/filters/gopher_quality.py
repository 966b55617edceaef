"""The quality rules of MassiveText (Rae et al. 2021, the Gopher paper, appendix A.1.1)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pipeline.config import Schema, identity
from pipeline.data.words import split_words

KEEPS = ["The river rises in the hills and flows to the sea with all of the rain that falls on the way. " * 4]
DROPS = [
    ("Too short to be of any use.", "few_words"),
    ("a b c d e f g h i j " * 10, "short_words"),
    ("incomprehensibilities internationalization " * 40, "long_words"),
    ("# the # and " * 40, "hashes"),
    ("the end of all that ... " * 20, "ellipses"),
    ("\n".join(["- the items of a list that have no end"] * 20), "bullet_lines"),
    ("\n".join(["the more of it that you read, the less you know ..."] * 20), "ellipsis_lines"),
    ("1999 , 2000 ; the 2001 + 2002 and 2003 - 2004 " * 20, "not_alphabetic"),
    ("Lorem ipsum dolor sit amet consectetur adipiscing elit sed " * 12, "few_stop_words"),
]

STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
_BULLETS = ("•", "-")


class Config(Schema):
    """The thresholds, all from the paper."""

    min_words: int = identity(50, ge=0)
    max_words: int = identity(100_000, ge=1)
    min_mean_word_length: float = identity(3.0, ge=0)
    max_mean_word_length: float = identity(10.0, gt=0)
    max_symbols_per_word: float = identity(0.1, ge=0, description="hashes, and ellipses, for each word")
    max_bullet_lines: float = identity(0.9, ge=0, le=1, description="share of lines that begin with a bullet")
    max_ellipsis_lines: float = identity(
        0.3, ge=0, le=1, description="share of lines that end with an ellipsis"
    )
    min_alphabetic_words: float = identity(
        0.8, ge=0, le=1, description="share of words with a letter in them"
    )
    marks_are_words: bool = identity(
        False, description="count marks among the words of min_alphabetic_words, as datatrove and FineWeb do"
    )
    min_stop_words: int = identity(2, ge=0, description="different ones of: the be to of and that have with")

    def build(self) -> Any:
        """Return the filter's step."""
        from pipeline.data.rule import Rule

        return Rule("gopher_quality", self.judge)

    def judge(self, document: Any) -> str | None:
        """Return why the document goes, or None if it stays."""
        return self._by_words(document.text) or self._by_lines(document.text)

    def _by_words(self, text: str) -> str | None:
        tokens = Counter(split_words(text))
        words = {token: times for token, times in tokens.items() if token[0].isalnum() or token[0] == "_"}
        number = sum(words.values())
        if number < self.min_words:
            return "few_words"
        if number > self.max_words:
            return "many_words"
        mean = sum(len(word) * times for word, times in words.items()) / number
        if not self.min_mean_word_length <= mean <= self.max_mean_word_length:
            return "short_words" if mean < self.min_mean_word_length else "long_words"
        if text.count("#") / tokens.total() > self.max_symbols_per_word:
            return "hashes"
        if (text.count("...") + text.count("…")) / tokens.total() > self.max_symbols_per_word:
            return "ellipses"
        # Words in the sense of the paper are what blanks separate. With each mark a word, prose has hardly
        # more than the 80 % that it should have, and every page with code has less.
        counted = tokens if self.marks_are_words else Counter(text.split())
        if _share_with_letter(counted) < self.min_alphabetic_words:
            return "not_alphabetic"
        return "few_stop_words" if len(STOP_WORDS.intersection(words)) < self.min_stop_words else None

    def _by_lines(self, text: str) -> str | None:
        lines = text.splitlines()
        if sum(line.lstrip().startswith(_BULLETS) for line in lines) / len(lines) > self.max_bullet_lines:
            return "bullet_lines"
        ellipses = sum(line.rstrip().endswith(("...", "…")) for line in lines)
        return "ellipsis_lines" if ellipses / len(lines) > self.max_ellipsis_lines else None


def _share_with_letter(words: Counter[str]) -> float:
    with_letter = sum(times for word, times in words.items() if word.isalpha() or any(map(str.isalpha, word)))
    return with_letter / words.total()
