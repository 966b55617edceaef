"""A dump of Wikipedia, or of another MediaWiki, without its markup: a document for each article.

Files are MediaWiki's XML (pages-articles, or enwik8 and enwik9, which are the beginnings of one), plain or
packed. What templates and tables would show is left out, see `pipeline.data.wiki.markup`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from pipeline.config import identity
from pipeline.data.compressed import unpacked
from pipeline.data.documents import Text
from pipeline.data.read import Slice
from pipeline.data.rows import Broken, TextRules, file_names
from pipeline.data.wiki.dump import from_xml
from pipeline.errors import FormatError


class Config(TextRules):
    """Which articles are read. One that is empty without its markup counts as broken, as `empty`."""

    may_end_early: bool = identity(False, description="the file is the beginning of a dump, as enwik8 is")

    def slices(self, files: Sequence[Path]) -> list[Slice]:
        """Return one slice for each file: XML can only be read from its beginning."""
        return [partial(_articles, self, path, name) for path, name in file_names(files).items()]


def _articles(rules: Config, path: Path, name: str) -> Iterator[Text | Broken]:
    try:
        with unpacked(path) as file:
            for title, text in from_xml(path, file, rules.may_end_early):
                yield rules.document(text, f"{name}#title={title}")
    except FormatError as fault:
        yield Broken("damaged-file", name, str(fault))
