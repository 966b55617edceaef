"""Rows of other people's files (JSON objects, table rows) as documents like those that extraction makes.

What a row tells of itself under the names we know is kept: address, karma, date, language. A document without
an address is named by the file and the place where it stands, so that its id does not depend on the machine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import Schema, execution, identity
from pipeline.data.documents import Text
from pipeline.data.extract import document_id, tidy
from pipeline.data.url import UrlError, canonical, registered_domain

# What phases after this one, or the datasheet, look at; `date` is what FineWeb calls our `fetched`.
KNOWN: dict[str, type] = {
    "karma": int,
    "karma_sum": int,
    "fetched": str,
    "date": str,
    "language": str,
    "language_score": float,
    "source": str,
}
DETAIL_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Broken:
    """Something that should have been a document; `reason` is the short name it is counted under."""

    reason: str
    place: str
    detail: str


class TextRules(Schema):
    """What is done to a text, and how many may be missing."""

    tidy: bool = identity(
        True, description="plain spaces, no control characters, single blank lines, as extraction does"
    )
    max_lost: float = execution(0.05, ge=0, le=1, description="share of broken documents that is an error")

    def document(self, text: str, place: str, **metadata: Any) -> Text | Broken:
        """Return the document of a text whose name is `place` (an address, or where the text was found)."""
        if self.tidy:
            text = tidy(text)
        if not text.strip():
            return Broken("empty", place, "")
        karma = metadata.get("karma", 0)
        known = {"url": place, "canonical_url": place, "domain": _domain(place), "fetched": ""}
        known |= {"karma": karma, "karma_sum": karma, **metadata}
        return Text(text, document_id(known["canonical_url"]), known)


class RowRules(TextRules):
    """Where in a row (a JSON object, a table's row) things stand; `metadata` may hold all but the text."""

    text_key: str = identity("text", min_length=1)
    url_key: str = identity("url", min_length=1, description="its address names a document")
    id_key: str = identity("id", min_length=1, description="names a document that has no address")

    @property
    def keys(self) -> tuple[str, ...]:
        """Return all keys that are looked at."""
        return (self.text_key, self.url_key, self.id_key, "metadata", *KNOWN)

    def row(self, row: Mapping[str, Any], file: str, place: str) -> Text | Broken:
        """Return the document of a row of the file named `file`; `place` says where in it."""
        where = f"{file}#{place}"
        text = row.get(self.text_key)
        if text is None:
            return Broken("no-text", where, f"no {self.text_key} in {sorted(row)}"[:DETAIL_CHARACTERS])
        if type(text) is not str:
            return Broken("text-not-a-string", where, repr(text)[:DETAIL_CHARACTERS])
        inner = row.get("metadata")
        told = {**inner, **row} if type(inner) is dict else row
        known = {key: told[key] for key, kind in KNOWN.items() if type(told.get(key)) is kind}
        if date := known.pop("date", None):
            known.setdefault("fetched", date)
        url, name = told.get(self.url_key), told.get(self.id_key)
        if type(url) is str and url:
            return self.document(text, _canonical(url), **known, url=url)
        return self.document(text, f"{file}#id={name}" if name or name == 0 else where, **known)


def file_names(files: Sequence[Path]) -> dict[Path, str]:
    """Return a name for each file that tells no more of its machine than the files differ in."""
    if not files:
        return {}
    root = Path(os.path.commonpath([file.absolute().parent for file in files]))
    return {file: f"file:{file.absolute().relative_to(root).as_posix()}" for file in files}


def _domain(name: str) -> str:
    """Return the registered domain of an address; of a name of our own making its scheme, `file` or
    `datasets`.
    """
    scheme, is_address, rest = name.partition("://")
    if not is_address:
        return name.partition(":")[0]
    host = rest.partition("/")[0].rpartition("@")[2].partition(":")[0]
    return registered_domain(host)


def _canonical(url: str) -> str:
    try:
        return canonical(url)
    except UrlError:
        return url  # no web address, but the name that somebody gave the document
