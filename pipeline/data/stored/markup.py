"""Pages that are made to cost: markup no author writes, told at a glance before a parser sees it.

The sandbox ends what takes too long all the same; these limits keep the usual attacks from taking their
seconds, and give the same verdict on every machine. What they let through is cheap with either extractor:
both parsers are quadratic in the depth of elements and in the attributes of one tag.
"""

from __future__ import annotations

import re
from itertools import accumulate

MAX_CHARACTERS = 5 << 20  # the crawler's own limit, in bytes
MAX_DEPTH = 2500  # browsers stop at 512
MAX_ATTRIBUTES = 2000  # of one tag

_SCRIPT = re.compile(r"<script\b[^<]*(?:<(?!/script)[^<]*)*", re.IGNORECASE)
# Elements that hold nothing, or that the next of their kind closes, do not nest.
_NESTING_TAG = re.compile(
    r"<(/?)(?!(?:area|base|br|col|embed|hr|img|input|link|meta|param|source|track|wbr"
    r"|p|li|dt|dd|option|optgroup|thead|tbody|tfoot|tr|td|th|rt|rp)\b)[a-zA-Z]"
)
_QUOTED = re.compile(r"\"[^\"]*(?:\"|$)|'[^']*(?:'|$)")


def excess(html: str) -> str | None:
    """Return what a page has too much of (`page-too-large`, `too-many-attributes`, `too-deep`), or None."""
    if len(html) > MAX_CHARACTERS:
        return "page-too-large"
    # Scripts are no markup, but hold many a `<`. Cutting them out takes time, and is for the few in doubt.
    return _excess(html) and _excess(_SCRIPT.sub("", html))


def _excess(markup: str) -> str | None:
    pieces = markup.split("<")
    if any(len(piece) > 2 * MAX_ATTRIBUTES and _attributes(piece) > MAX_ATTRIBUTES for piece in pieces):
        return "too-many-attributes"
    if markup.count("<") - markup.count("</") > MAX_DEPTH and _depth(markup) > MAX_DEPTH:
        return "too-deep"
    return None


def _attributes(piece: str) -> int:
    """Return how many attributes the tag has that this text begins with, its `<` cut off."""
    tag = piece.partition(">")[0]
    return len(_QUOTED.sub(" ", tag).split()) - 1 if tag[:1].isalpha() else 0


def _depth(markup: str) -> int:
    return max(accumulate(-1 if slash else 1 for slash in _NESTING_TAG.findall(markup)), default=0)
