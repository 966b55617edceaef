"""Drop texts that are too short to be a page, or too long to be one page.

The GPT-2 paper names no bounds; OpenWebText's published corpus kept documents of at least 128 GPT-2 tokens,
which is about 100 words.
"""

from __future__ import annotations

from typing import Any

from pipeline.config import Schema, identity
from pipeline.data.words import split_words

KEEPS = ["A page of moderate length. " * 40]
DROPS = [("A title and nothing else.", "short"), ("word " * 200_000, "long")]


class Config(Schema):
    """Bounds of a document's length."""

    min_words: int = identity(100, ge=0, description="words and punctuation marks, at least")
    max_words: int = identity(150_000, ge=1, description="words and punctuation marks, at most")

    def build(self) -> Any:
        """Return the filter's step."""
        from pipeline.data.rule import Rule

        return Rule("length", self.judge)

    def judge(self, document: Any) -> str | None:
        """Return why the document goes, or None if it stays."""
        words = len(split_words(document.text))
        if words < self.min_words:
            return "short"
        return "long" if words > self.max_words else None
