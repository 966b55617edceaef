"""CNN/DailyMail's test articles with their highlights (Hermann et al., 2015; See et al., 2017)."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import FormatError
from pipeline.evaluate.lines import numbered_lines
from pipeline.formats.source import Hub, Source

_URLS, _CNN, _DAILYMAIL = "all_test.txt", "cnn/stories", "dailymail/stories"
_MARK = re.compile(r"^@highlight\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Article:
    """The text of an article, and the sentences that its editors summed it up with."""

    text: str
    highlights: tuple[str, ...]


def parse(files: Sequence[Path]) -> list[Article]:
    """Return the articles of one layout, in the order of its file; FormatError names a row that is none."""
    first = files[0]
    if first.name == _URLS:
        return _stories(first, files[1:])
    return _table(first) if first.suffix == ".csv" else _lines(first)


def hub_row(row: Mapping[str, Any]) -> Article:
    """Return the article of a row with the columns `article` and `highlights`; ValueError if one is empty."""
    article = _article(str(row["article"]), str(row["highlights"]).splitlines())
    if article is None:
        raise ValueError("an article or its highlights are empty")
    return article


def _article(text: str, highlights: Sequence[str]) -> Article | None:
    """Return an article without blank lines and highlights, None if nothing is left of either."""
    body = "\n".join(stripped for line in text.splitlines() if (stripped := line.strip()))
    kept = tuple(stripped for each in highlights if (stripped := each.strip()))
    return Article(body, kept) if body and kept else None


def _stories(urls: Path, stories: Sequence[Path]) -> list[Article]:
    """Read the stories of the test set's addresses; a story is named by the SHA-1 of its address."""
    places = {path.stem: path for path in stories}
    found = []
    for number, line in numbered_lines(urls):
        name = hashlib.sha1(line.strip().encode(), usedforsecurity=False).hexdigest()
        if name not in places:
            raise FormatError(
                f"{urls}:{number}: no {name}.story for {line.strip()!r} in {_CNN} or {_DAILYMAIL} beside it; "
                "unpack both archives whole"
            )
        text, *highlights = _MARK.split("".join(line for _, line in numbered_lines(places[name])))
        article = _article(text, highlights)
        if article is None:
            raise FormatError(f"{places[name]}:1: no text, or no @highlight after it; get the archive anew")
        found.append(article)
    return found


def _table(path: Path) -> list[Article]:
    rows = csv.DictReader((line for _, line in numbered_lines(path)), strict=True)
    found = []
    try:
        if missing := {"article", "highlights"} - set(rows.fieldnames or ()):
            raise FormatError(f"{path}:1: no column {' and '.join(sorted(missing))}; get the file anew")
        for row in rows:
            article = _article(row["article"] or "", (row["highlights"] or "").splitlines())
            if article is None:
                raise FormatError(f"{path}:{rows.line_num}: an empty article or summary; get the file anew")
            found.append(article)
    except csv.Error as fault:
        raise FormatError(f"{path}:{rows.line_num}: {fault}; get the file anew") from None
    return found


def _lines(path: Path) -> list[Article]:
    """Read lines of article, tab, highlights with two blanks between them."""
    found = []
    for number, line in numbered_lines(path):
        text, tab, highlights = line.partition("\t")
        article = None if "\t" in highlights or not tab else _article(text, highlights.split("  "))
        if article is None:
            raise FormatError(f"{path}:{number}: not an article, a tab and its highlights; get the file anew")
        found.append(article)
    return found


SOURCE = Source(
    name="CNN/DailyMail",
    layouts=(
        tuple(f"cnn_dailymail/{name}" for name in (_URLS, f"{_CNN}/*.story", f"{_DAILYMAIL}/*.story")),
        ("cnn_dailymail/test.csv",),
        ("cnndm/cnndm_mini-dataset.tsv",),
    ),
    parse=parse,
    where="https://cs.nyu.edu/~kcho/DMQA (stories), https://github.com/abisee/cnn-dailymail (all_test.txt)",
    hub=Hub(path="abisee/cnn_dailymail", name="3.0.0", split="test", row=hub_row),
)
"""The stories as published, with the list of the test set's addresses; a table with the columns id, article,
highlights; or lines of article, tab, highlights."""
