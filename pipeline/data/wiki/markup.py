"""Wikitext as the words a reader sees: no markup, references, templates, tables or pictures.

Not a renderer: what templates would print is left out. It is the text between them that is looked for in
other documents, in stretches of a few words, so a gap costs those around it and no more. Every step takes
time in proportion to the text, whatever it holds.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator

# What stands inside these elements is not running text.
_UNREAD = (
    "ref|math|chem|gallery|timeline|syntaxhighlight|source|score|imagemap|hiero|graph|templatestyles|code|pre"
)
_BORDER = re.compile(
    rf"(?P<comment><!--)|(?P<end_comment>-->)|(?P<template>\{{\{{)|(?P<end_template>\}}\}})"
    r"|^[ \t:]*(?P<table>\{\|)|^[ \t]*(?P<end_table>\|\})"
    rf"|<(?:(?P<empty>{_UNREAD})\b[^<>]*/|(?P<element>{_UNREAD})\b[^<>]*|/(?P<end_element>{_UNREAD})\s*)>",
    re.MULTILINE | re.IGNORECASE,
)
# Not links that name a kind first (File:, Category:, fr:), unless a colon in front makes them plain links.
_LINK = re.compile(r"\[\[:?(?![a-z-]+:\S)(?:[^\[\]|]*\|)?([^\[\]]*)\]\]", re.IGNORECASE)
_PLAIN_LINK = re.compile(r"\[\[:[^\[\]|]*\|([^\[\]]*)\]\]")
_OTHER_LINK = re.compile(r"\[\[[^\[\]]*\]\]")
_OUTWARD = re.compile(r"\[(?:https?:)?//[^\s\[\]]*+\s*+([^\[\]]*+)\]")
_TAG = re.compile(r"</?[a-z][^<>]*>", re.IGNORECASE)
_LINE_MARK = re.compile(r"^[*#:;= \t]+|[ \t]{0,4}={1,6}[ \t]{0,4}$", re.MULTILINE)
_SWITCH = re.compile(r"__[A-Z]+__")


def plain_text(wikitext: str) -> str:
    """Return the running text of a page."""
    text = "".join(_between_unread(wikitext))
    text = _PLAIN_LINK.sub(r"\1", text)
    text = _OTHER_LINK.sub("", _LINK.sub(r"\1", _LINK.sub(r"\1", text)))
    text = _TAG.sub("", _OUTWARD.sub(r"\1", text))
    text = _SWITCH.sub("", text.replace("'''", "").replace("''", ""))
    return html.unescape(_LINE_MARK.sub("", text))


def _between_unread(text: str) -> Iterator[str]:
    """Yield what stands outside comments, templates, tables and unread elements."""
    end = 0
    for start, stop in sorted(_unread_spans(text)):
        if stop > end:
            yield text[end : max(start, end)]
            end = stop
    yield text[end:]


def _unread_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of what is closed; they may lie in each other. What is never closed is text."""
    opened: list[tuple[str, int]] = []
    waiting: Counter[str] = Counter()
    for border in _BORDER.finditer(text):
        what = str(border.lastgroup)
        kind = what.removeprefix("end_") + (border[what].lower() if what.endswith("element") else "")
        if what == "empty":
            yield border.span()
        elif not what.startswith("end_"):
            opened.append((kind, border.start()))
            waiting[kind] += 1
        elif waiting[kind]:
            closed = ""
            while closed != kind:  # what was opened inside and never closed goes with it
                closed, start = opened.pop()
                waiting[closed] -= 1
            yield start, border.end()
