"""The articles of a Wikipedia dump: MediaWiki's XML, or JSONL with a text a row; packed or not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from xml.etree import ElementTree

import orjson

from pipeline.data.compressed import kind_of, unpacked
from pipeline.data.wiki.markup import plain_text
from pipeline.errors import FormatError

TEXT_KEYS = ("text", "extract", "summary", "abstract")  # of a JSONL row, the first that is there


def articles(path: Path) -> Iterator[tuple[str, str]]:
    """Yield title and plain text of each article, in bounded memory; FormatError if the dump is damaged."""
    if kind_of(path) not in (".xml", ".jsonl"):
        raise FormatError(
            f"{path}: neither .xml nor .jsonl (plain, .bz2, .gz, .xz or .zst); "
            f"give the pages-articles dump or rows of title and text"
        )
    with unpacked(path) as file:
        yield from _from_xml(path, file) if kind_of(path) == ".xml" else _from_rows(path, file)


def _from_xml(path: Path, file: IO[bytes]) -> Iterator[tuple[str, str]]:
    """Yield the pages of the article namespace that are not redirects."""
    try:
        events = ElementTree.iterparse(file, events=("start", "end"))
        _, root = next(events)
        for event, element in events:
            if event == "end" and _name(element) == "page":
                page = {_name(each): each.text or "" for each in element.iter()}
                root.clear()  # or the whole dump would stay in memory
                if page.get("ns", "0") == "0" and "redirect" not in page:
                    yield page.get("title", ""), plain_text(page.get("text", ""))
    except ElementTree.ParseError as fault:
        raise FormatError(f"{path}: not a whole MediaWiki dump ({fault}); get it again") from None


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
