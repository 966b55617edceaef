"""Words, without a language package: for the filters' rules."""

from __future__ import annotations

import re
from functools import lru_cache

# A word keeps inner apostrophes, dots and hyphens (don't, e.g, os.path, log-linear); other marks stand alone,
# as in the Treebank-like tokenizers that the published thresholds were set with. Three dots are one mark.
_WORD = re.compile(r"\w+(?:[.'’\-]\w+)*|\.\.\.|[^\w\s]")
# Where one sentence ends and another begins: a full stop or its like, closing marks, and a blank.
_SENTENCE_BORDER = re.compile(r"[.?!…][\"'”’)\]]*\s+(?=\S)")


@lru_cache(maxsize=4)  # several filters ask for the same document in a row
def split_words(text: str) -> tuple[str, ...]:
    """Return the words and punctuation marks of a text in order."""
    return tuple(_WORD.findall(text))


def sentence_ends(text: str) -> list[int]:
    """Return the place behind each sentence of a text, the blanks after it included; the last is its end."""
    return [*(border.end() for border in _SENTENCE_BORDER.finditer(text)), len(text)]
