"""GPT-1's byte-pair encoding of words, 40,478 ids: lower case, spaCy's words, ftfy's cleaning."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from model.tokenizer_gpt1 import PUBLISHED, Gpt1Tokenizer, gpt1
from pipeline.config import Schema, execution
from pipeline.errors import ConfigError


class Config(Schema):
    """Where OpenAI's two files come from; their sums are checked, so it does not matter to the ids."""

    files: str = execution(
        PUBLISHED, description="folder or address of encoder_bpe_40000.json and vocab_40000.bpe"
    )

    def build(self, texts: Iterable[str]) -> Gpt1Tokenizer:
        """Return the tokenizer; the corpus is not looked at. ConfigError for missing files or libraries."""
        del texts
        missing = [name for name in ("spacy", "ftfy") if importlib.util.find_spec(name) is None]
        if missing:
            raise ConfigError(f"tokenizer: gpt1 needs {' and '.join(missing)}: pip install loglinear[gpt1]")
        try:
            return gpt1(self.files)
        except (OSError, ValueError) as fault:
            raise ConfigError(f"tokenizer.files: {fault}; give a folder that holds the two files") from None
