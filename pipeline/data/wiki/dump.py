"""The articles of a Wikipedia dump: MediaWiki's XML, or JSONL with a text a row; packed or not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from xml.etree import ElementTree
from xml.parsers.expat import errors

import orjson

from pipeline.data.compressed import kind_of, unpacked
from pipeline.data.wiki.markup import plain_text
from pipeline.errors import FormatError

# What Expat calls a document that ends while an element, or a token of one, is open.
_ENDS_EARLY = (errors.codes[errors.XML_ERROR_NO_ELEMENTS], errors.codes[errors.XML_ERROR_UNCLOSED_TOKEN])
_REDIRECT = re.compile(r"\s*#redirect\b", re.IGNORECASE)
TEXT_KEYS = ("text", "extract", "summary", "abstract")  # of a JSONL row, the first that is there


def articles(path: Path) -> Iterator[tuple[str, str]]:
    """Yield title and plain text of each article, in bounded memory; FormatError if the dump is damaged."""
    if kind_of(path) not in (".xml", ".jsonl"):
        raise FormatError(
            f"{path}: neither .xml nor .jsonl (plain, .bz2, .gz, .xz or .zst); "
            f"give the pages-articles dump or rows of title and text"
        )
    with unpacked(path) as file:
        yield from from_xml(path, file) if kind_of(path) == ".xml" else _from_rows(path, file)


def from_xml(path: Path, file: IO[bytes], may_end_early: bool = False) -> Iterator[tuple[str, str]]:
    """Yield title and plain text of the pages of the article namespace that are not redirects.

    Exports before 0.6 tell a page's namespace by its title alone, and a redirect by its text. One that
    `may_end_early` is the beginning of a dump: the page that it is cut off in is left out.
    """
    namespaces: set[str] = set()
    try:
        events = ElementTree.iterparse(file, events=("start", "end"))
        _, root = next(events)
        for event, element in events:
            if event == "end" and _name(element) == "namespace":
                namespaces.add(element.text or "")
            if event == "end" and _name(element) == "page":
                page = {_name(each): each.text or "" for each in element.iter()}
                root.clear()  # or the whole dump would stay in memory
                if _is_article(page, namespaces):
                    yield page.get("title", ""), plain_text(page.get("text", ""))
    except ElementTree.ParseError as fault:
        if not (may_end_early and fault.code in _ENDS_EARLY):
            raise FormatError(f"{path}: not a whole MediaWiki dump ({fault}); get it again") from None


def _is_article(page: dict[str, str], namespaces: set[str]) -> bool:
    if "redirect" in page or _REDIRECT.match(page.get("text", "")):
        return False
    if "ns" in page:
        return page["ns"] == "0"
    before, colon, _ = page.get("title", "").partition(":")
    return not (colon and before in namespaces)


def _name(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]  # without the export format's version


def _from_rows(path: Path, file: IO[bytes]) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(file, start=1):
        try:
            row = orjson.loads(line)
            yield str(row.get("title", "")), next(str(row[key]) for key in TEXT_KEYS if row.get(key))
        except (orjson.JSONDecodeError, AttributeError, StopIteration):
            expected = f"a JSON object with one of {', '.join(TEXT_KEYS)} is expected"
            raise FormatError(f"{path}:{number}: {expected}") from None
