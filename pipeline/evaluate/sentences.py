"""Where the sentences of a text end, by a rule that fits on a page.

For the first three sentences of a summary and the first of a translation: the GPT-2 paper takes these and
does not say how it tells them (sections 3.6 and 3.7).
"""

from __future__ import annotations

import re

RULE = (
    "a sentence ends at a line's end, and at . ! ? or … with the quotes and brackets that close after it "
    "where a blank follows, but not at the one full stop after an initial, a usual abbreviation, or one that "
    "a number follows"
)

# fmt: off
ABBREVIATIONS = frozenset((
    "mr", "mrs", "ms", "dr", "prof", "rev", "gen", "col", "capt", "cpl", "lt", "sgt", "maj", "gov", "sen",
    "rep", "st", "jr", "sr", "hon", "inc", "ltd", "co", "corp", "vs", "approx", "cf",
    "mm", "mme", "mlle", "mgr", "env", "av",
))
"""English and French words, in lower case, whose full stop ends no sentence."""
NUMBERED = frozenset((
    "no", "nos", "vol", "fig", "art",
    "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sept", "oct", "nov", "dec",
))
"""Those whose full stop ends none if a number follows."""
# fmt: on

# The closing guillemet stands after a blank in French; a closing quote of tokenized text after one, too.
_END = re.compile(r"([.!?…]+)((?:['\"”’)\]]|\s?»|\s(?:''|[”’»](?!\w)))*)(?=\s|$)")
_LAST_WORD = re.compile(r"(?:^|[\s(\[\"'“‘«.-])([^\W\d_]+)$")


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, without the blanks around them; of an empty text none."""
    return [sentence for line in text.splitlines() for sentence in _of_line(line)]


def _of_line(line: str) -> list[str]:
    found, start = [], 0
    for end in _END.finditer(line):
        if end[1] == "." and _is_abbreviation(line[start : end.start()], line[end.end() :]):
            continue
        found.append(line[start : end.end()].strip())
        start = end.end()
    found.append(line[start:].strip())
    return [sentence for sentence in found if sentence]


def _is_abbreviation(before: str, after: str) -> bool:
    """Return whether what stands right before a full stop is an initial or a word that is cut short."""
    word = _LAST_WORD.search(before)
    if word is None:
        return False
    short = word[1].lower()
    is_numbered = short in NUMBERED and after.lstrip()[:1].isdigit()
    return len(short) == 1 or short in ABBREVIATIONS or is_numbered
