"""The rules of C4 (Raffel et al. 2020, "Exploring the Limits of Transfer Learning", section 2.2).

Lines that are no sentences go first; a document goes if too little is left, or if it holds a sign of being no
prose. The paper's list of bad words is left out: it drops medicine and minorities, and needs a download.
"""

from __future__ import annotations

import re
from typing import Any

from pipeline.config import Schema, identity
from pipeline.data.words import sentence_ends

KEEPS = [
    "The house is old. It was built by a sailor.\nNobody knew him. He left it to a cat.\nThe cat sold it."
]
DROPS = [
    ("Home\nAbout us\nContact\nThe only sentence of the page stands here.", "few_sentences"),
    ("Lorem ipsum dolor sit amet. One. Two. Three. Four. Five.", "lorem_ipsum"),
    (
        "The code is here. It is short.\nint main() { return 0; }.\nIt does nothing at all. Run it. Enjoy.",
        "curly_bracket",
    ),
]

_ENDS = (".", "?", "!", '"', "'")
_CITATION = re.compile(r"\[(?:\d*|edit|citation needed)\]")
_POLICY = re.compile("terms of use|privacy policy|cookie policy|uses cookies|use (?:of )?cookies")


class Config(Schema):
    """The rules, all from the paper."""

    end_punctuation: bool = identity(True, description="keep only lines that end a sentence")
    min_sentences: int = identity(5, ge=0, description="sentences left in a document, at least")
    min_line_words: int = identity(3, ge=0, description="words in a line that stays, at least")
    max_word_length: int = identity(
        1000, ge=1, description="characters of a word in a line that stays, at most"
    )
    drop_lorem_ipsum: bool = identity(True)
    drop_curly_bracket: bool = identity(True, description="drop documents with a {, most of them code")
    drop_javascript_lines: bool = identity(True, description="drop lines such as `please enable Javascript`")
    drop_policy_lines: bool = identity(True, description="drop lines on cookies and terms of use")

    def build(self) -> Any:
        """Return the filter's step."""
        from pipeline.data.rule import Rule

        return Rule("c4", self.judge)

    def judge(self, document: Any) -> str | None:
        """Return why the document goes, or None if it stays, then without the lines that go."""
        kept, sentences = [], 0
        for line in map(str.strip, document.text.splitlines()):
            words = line.split()
            if len(line) > self.max_word_length and max(map(len, words)) > self.max_word_length:
                continue
            line = _CITATION.sub("", line) if "[" in line else line
            if len(words) < self.min_line_words or not self._ends_well(line):
                continue
            lowered = line.lower()
            if self.drop_lorem_ipsum and "lorem ipsum" in lowered:
                return "lorem_ipsum"
            if self.drop_javascript_lines and "javascript" in lowered:
                continue
            if self.drop_curly_bracket and "{" in line:
                return "curly_bracket"
            if self.drop_policy_lines and _POLICY.search(lowered):
                continue
            kept.append(line)
            sentences += len(sentence_ends(line))
        if sentences < self.min_sentences:
            return "few_sentences"
        document.text = "\n".join(kept).strip()
        return None

    def _ends_well(self, line: str) -> bool:
        return not self.end_punctuation or (line.endswith(_ENDS) and not line.endswith("..."))
