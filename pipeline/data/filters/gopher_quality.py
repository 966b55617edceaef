"""The quality rules of MassiveText (Rae et al. 2021, the Gopher paper, appendix A.1.1)."""

from __future__ import annotations

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
_BULLETS = ("•", "-", "*")


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
    min_stop_words: int = identity(2, ge=0, description="different ones of: the be to of and that have with")

    def build(self) -> Any:
        """Return the filter's step."""
        from pipeline.data.rule import Rule

        return Rule("gopher_quality", self.judge)

    def judge(self, document: Any) -> str | None:
        """Return why the document goes, or None if it stays."""
        return self._by_words(document.text) or self._by_lines(document.text)

    def _by_words(self, text: str) -> str | None:
        tokens = split_words(text)
        words = [token for token in tokens if token[0].isalnum() or token[0] == "_"]
        if len(words) < self.min_words:
            return "few_words"
        if len(words) > self.max_words:
            return "many_words"
        mean = sum(map(len, words)) / len(words)
        if not self.min_mean_word_length <= mean <= self.max_mean_word_length:
            return "short_words" if mean < self.min_mean_word_length else "long_words"
        if text.count("#") / len(tokens) > self.max_symbols_per_word:
            return "hashes"
        if (text.count("...") + text.count("…")) / len(tokens) > self.max_symbols_per_word:
            return "ellipses"
        # Words in the sense of the paper: what blanks separate. Counting marks apart would drop every page
        # with code.
        chunks = text.split()
        if sum(map(_has_letter, chunks)) / len(chunks) < self.min_alphabetic_words:
            return "not_alphabetic"
        return "few_stop_words" if len(STOP_WORDS.intersection(words)) < self.min_stop_words else None

    def _by_lines(self, text: str) -> str | None:
        lines = text.splitlines()
        if sum(line.lstrip().startswith(_BULLETS) for line in lines) / len(lines) > self.max_bullet_lines:
            return "bullet_lines"
        ellipses = sum(line.rstrip().endswith(("...", "…")) for line in lines)
        return "ellipsis_lines" if ellipses / len(lines) > self.max_ellipsis_lines else None


def _has_letter(word: str) -> bool:
    return word.islower() or word.isupper() or any(map(str.isalpha, word))
