"""Splits a docstring into headings, paragraphs, code, lists and terms with their descriptions."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

_UNDERLINE = re.compile(r"^([-=~^*#\"'.+])\1{2,}$")
_BULLET = re.compile(r"^(?:[-*+•]|\d{1,2}[.)]) +")
_CODE = re.compile(r"^(?:>>> |\.\.\. |\$ |[|+]|def |class |import |from \w+ import )")
_MATH = re.compile(r"[=<>{}\\_^|]|\(\w*\)")
_TERM_SECTIONS = (
    "parameters", "other parameters", "returns", "yields", "receives", "raises", "warns", "attributes",
    "methods", "arguments", "args", "options", "keyword arguments",
)  # fmt: skip
_DIRECTIVES = {
    "versionadded": "New in version",
    "versionchanged": "Changed in version",
    "deprecated": "Deprecated since version",
    "note": "Note:",
    "warning": "Warning:",
    "seealso": "See also:",
}
_DIRECTIVE = re.compile(r"^\.\. +([\w-]+):: *(.*)$")
_REFERENCE = re.compile(r"(\[\w+\])_(?!\w)")
_FOOTNOTE = re.compile(r"^\.\. +(\[[^\]]+\])")


@dataclass(frozen=True, slots=True)
class Block:
    """One block of text; `inner` holds what belongs to a term or an item of a list."""

    kind: Literal["heading", "paragraph", "code", "item", "term", "reference"]
    text: str
    inner: tuple["Block", ...] = field(default=())


def blocks_of(text: str, section: str = "") -> Iterator[Block]:
    """Yield the blocks of a docstring whose common indentation is gone."""
    lines = text.expandtabs().split("\n")
    place = 0
    while place < len(lines):
        line = lines[place].rstrip()
        if not line:
            place += 1
        elif (
            place + 1 < len(lines) and _UNDERLINE.match(lines[place + 1].strip()) and not line.startswith(" ")
        ):
            section = line.strip().rstrip(":").lower()
            yield Block("heading", line.strip())
            place += 2
        else:
            stop, body = _extent(lines, place)
            yield from _blocks(lines[place:stop], lines[stop:body], section)
            place = body


def _extent(lines: list[str], start: int) -> tuple[int, int]:
    """Return where the flush-left lines from `start` end, and where the indented ones after them end."""
    stop = start
    while stop < len(lines) and lines[stop].strip() and not lines[stop].startswith(" "):
        if stop > start and (_BULLET.match(lines[stop]) or _is_heading(lines, stop)):
            break
        stop += 1
    body = end = stop
    while body < len(lines) and (not lines[body].strip() or lines[body].startswith(" ")):
        body += 1
        if lines[body - 1].strip():
            end = body
    return stop, max(end, stop)


def _is_heading(lines: list[str], place: int) -> bool:
    return place + 1 < len(lines) and bool(_UNDERLINE.match(lines[place + 1].strip()))


def _blocks(lead: list[str], body: list[str], section: str) -> Iterator[Block]:
    """Yield the blocks of some flush-left lines and the indented ones that follow them."""
    inner = textwrap.dedent("\n".join(body)).strip("\n")
    first = lead[0].strip() if lead else ""
    if not lead:  # indented text under a heading, or at the very beginning
        yield from blocks_of(inner) if _is_prose(inner) else [Block("code", inner)]
    elif directive := _DIRECTIVE.match(first):
        yield from _directive(directive[1], directive[2], [*lead[1:], inner])
    elif _CODE.match(first):
        yield Block("code", "\n".join([*lead, *body]).rstrip())
    elif bullet := _BULLET.match(first):
        continued, inner = _continued(inner)
        yield Block("item", f"{first[bullet.end() :]} {continued}".rstrip(), tuple(blocks_of(inner)))
    elif section == "see also":
        for line in lead[:-1]:
            yield Block("reference", line.strip())
        yield Block("reference", " ".join([*lead[-1].split(), *inner.split()]))
    elif section in _TERM_SECTIONS or (body and body[0].strip() and _is_term(lead)):
        for line in lead[:-1]:
            yield Block("term", line.strip())
        yield Block("term", lead[-1].strip(), tuple(blocks_of(inner)))
    else:
        yield from _free("\n".join(lead), inner)


def _continued(inner: str) -> tuple[str, str]:
    """Split what follows a bullet into the rest of its sentence and the blocks inside the item."""
    first, gap, rest = inner.partition("\n\n")
    if _CODE.match(first) or _BULLET.match(first):
        return "", inner
    return " ".join(first.split()), rest if gap else ""


def _is_term(lead: list[str]) -> bool:
    line = lead[-1].strip()
    return len(lead) == 1 and len(line) < 80 and not line.endswith((".", ":", ","))


def _directive(name: str, argument: str, rest: list[str]) -> Iterator[Block]:
    text = textwrap.dedent("\n".join(line for line in rest if not line.strip().startswith(":"))).strip("\n")
    if name in _DIRECTIVES:
        yield Block("paragraph", " ".join([_DIRECTIVES[name], *argument.split()]))
        yield from blocks_of(text)
    elif text and name not in ("plot", "index", "currentmodule", "autosummary", "toctree"):
        yield Block("code", text)


def _free(lead: str, inner: str) -> Iterator[Block]:
    """Yield a paragraph, and what is indented under it as code or as text of its own."""
    text = _REFERENCE.sub(r"\1", _FOOTNOTE.sub(r"\1", " ".join(lead.split())))
    if text.endswith("::"):
        yield Block("paragraph", text[:-1].removesuffix(" :"))
        if inner:
            yield Block("code", inner)
    elif inner and not _is_prose(inner):
        yield Block("paragraph", text)
        yield Block("code", inner)
    elif inner and text[-1:] not in ".:!?":  # the sentence goes on in the indented lines
        yield Block("paragraph", f"{text} {' '.join(inner.split())}")
    else:
        yield Block("paragraph", text)
        yield from blocks_of(inner)


def _is_prose(text: str) -> bool:
    """Tell whether indented text reads as sentences rather than as code, a table or a formula."""
    if _CODE.match(text):
        return False
    return (
        len(text) > 60 and len(_MATH.findall(text)) * 25 < len(text) and "   " not in text.replace("\n", " ")
    )
