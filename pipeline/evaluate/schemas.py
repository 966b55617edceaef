"""Winograd schemas (Levesque et al., 2012): sentences with a pronoun, and the two it may mean."""

from __future__ import annotations

import xml.sax
import xml.sax.handler
import xml.sax.xmlreader
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import FormatError
from pipeline.formats.source import Hub, Source, only

COUNT = 273
"""Schemas of the set that papers call WSC273; the collection has grown since."""

_POSSESSIVES = {"my", "your", "his", "her", "its", "our", "their"}
_ARTICLES = {"a", "an", "the"}
_DEFINITE = {*_ARTICLES, *_POSSESSIVES, "this", "that", "these", "those", "him", "them"}
_PERSONS = {"i", "he", "she", "him"}
_LM_EVAL_ARTICLES = {"A", "An", "The", "She", "He", "It", "They", "My", "His", "Her", "Their"}
_ENDS = (".", "!", "?")


@dataclass(frozen=True)
class WinogradSchema:
    """What stands before a pronoun and after it, the two candidates and the right one's place."""

    before: str
    pronoun: str
    after: str
    candidates: tuple[str, str]
    answer: int


def parse(files: Sequence[Path]) -> list[WinogradSchema]:
    """Return the first 273 schemas of the collection; FormatError with file and line for one that is none."""
    path = only(files)
    reader = _Collection()
    try:
        xml.sax.parse(str(path), reader)
    except xml.sax.SAXParseException as fault:
        raise FormatError(
            f"{path}:{fault.getLineNumber()}: {fault.getMessage()}; get the file anew"
        ) from None
    return [_schema(path, line, found) for line, found in reader.schemas[:COUNT]]


def _schema(path: Path, line: int, found: Mapping[str, Sequence[str]]) -> WinogradSchema:
    before, pronoun, after, answer = (
        "".join(found.get(name, ())) for name in ("text/txt1", "text/pron", "text/txt2", "correctAnswer")
    )
    candidates = found.get("answers/answer", ())
    letter = answer.rstrip(". ")
    if not (pronoun and after) or len(candidates) != 2 or letter not in ("A", "B"):
        raise FormatError(
            f"{path}:{line}: a schema needs a pronoun and text after it, two answers and the letter of the "
            f"correct one; found {pronoun!r}, {after!r}, {list(candidates)}, {answer!r}; get the file anew"
        )
    return WinogradSchema(before, pronoun, after, (candidates[0], candidates[1]), "AB".index(letter))


class _Collection(xml.sax.handler.ContentHandler):
    """Collects each schema's line, and its texts by where they stand in it, blanks made one."""

    def __init__(self) -> None:
        super().__init__()
        self.schemas: list[tuple[int, dict[str, list[str]]]] = []
        self._path: list[str] = []
        self._text = ""

    def setDocumentLocator(self, locator: xml.sax.xmlreader.Locator) -> None:  # noqa: N802 - as xml.sax has it
        self._place = locator

    def startElement(self, name: str, attrs: object) -> None:  # noqa: ARG002, N802
        if name == "schema":
            self.schemas.append((self._place.getLineNumber() or 0, {}))
            self._path = []
        elif self.schemas:
            self._path.append(name)
        self._text = ""

    def characters(self, content: str) -> None:
        self._text += content

    def endElement(self, name: str) -> None:  # noqa: ARG002, N802
        if self._path:
            texts = self.schemas[-1][1].setdefault("/".join(self._path), [])
            texts.append(" ".join(self._text.split()))
            self._path.pop()
        self._text = ""


def _hub_row(row: Mapping[str, Any]) -> WinogradSchema:
    text, place, pronoun = row["text"], row["pronoun_loc"], row["pronoun"]
    first, second = row["options"]
    after = text[place + len(pronoun) :].strip()
    return WinogradSchema(text[:place].strip(), pronoun, after, (first, second), int(row["label"]))


SOURCE = Source(
    name="Winograd Schema Challenge",
    layouts=(("WSCollection.xml",), ("wsc273/WSCollection.xml",)),
    parse=parse,
    where="https://cs.nyu.edu/~davise/papers/WinogradSchemas/WSCollection.xml",
    hub=Hub(path="lighteval/winograd_wsc", name="wsc273", split="test", row=_hub_row),
)


def fluent(schema: WinogradSchema, candidate: str) -> tuple[str, str, str]:
    """Return what stands before the pronoun, the candidate as it reads in its place, and the rest.

    What was new is known by then: `a` becomes `the`, and a noun of no article takes it. A possessive's
    candidate takes 's, a person's loses it. The first letter is large where a sentence begins; an article's
    is small elsewhere. Blanks lead the parts that follow a word.
    """
    article, _, noun = candidate.partition(" ")
    if noun and article.lower() in _ARTICLES:
        candidate = f"the {noun}"
    elif noun and article.lower() in _POSSESSIVES:
        candidate = f"{article.lower()} {noun}"
    elif candidate[:1].islower() and article not in _DEFINITE:
        candidate = f"the {candidate}"
    pronoun = schema.pronoun.lower()
    if pronoun in _POSSESSIVES and not candidate.endswith("'s"):
        candidate += "'s"
    elif pronoun in _PERSONS:
        candidate = candidate.removesuffix("'s")
    if not schema.before or schema.before.endswith(_ENDS):
        candidate = candidate[:1].upper() + candidate[1:]
    apart = "" if schema.after.startswith((*_ENDS, ",", ";", ":")) else " "
    return schema.before, _after(schema.before, candidate), apart + schema.after


def as_lm_eval(schema: WinogradSchema, candidate: str) -> tuple[str, str, str]:
    """Return the same parts as lm-eval's `wsc273` (version 1.0) joins them.

    A possessive's candidate takes 's whatever it ends with, an article is small unless the word before ends
    with a full stop, and two blanks lead the rest: its own and lm-eval's delimiter.
    """
    if schema.pronoun.lower() in {"my", "his", "her", "our", "their"}:
        candidate += "'s"
    article = candidate.split()[0]
    if not schema.before.endswith(".") and article in _LM_EVAL_ARTICLES:
        candidate = candidate.replace(article, article.lower())
    return schema.before, _after(schema.before, candidate), f"  {schema.after}"


def _after(before: str, candidate: str) -> str:
    return f" {candidate}" if before else candidate
