"""A byte-pair encoding of the corpus's own, trained on its training split."""

from __future__ import annotations

from collections.abc import Iterable

from model.tokenizer import Tokenizer, train
from pipeline.config import Schema, identity
from pipeline.errors import ConfigError


class Config(Schema):
    """How large the vocabulary is, and how much text it is learned from."""

    vocab_size: int = identity(4096, ge=257, description="ids, end of text included")

    def build(self, texts: Iterable[str]) -> Tokenizer:
        """Return the tokenizer that these texts teach; ConfigError if they are too few for the vocabulary."""
        try:
            return train(texts, self.vocab_size)
        except ValueError as fault:
            raise ConfigError(f"tokenizer: {fault}") from None
