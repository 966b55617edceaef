"""Plain text: a file is a document (a folder of books), or holds many with a separator line between them.

Files may be packed by gzip, zstd, xz or bzip2.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from pydantic import field_validator

from pipeline.config import identity
from pipeline.data.compressed import unpacked
from pipeline.data.documents import Text
from pipeline.data.lines import FileReport, read_lines
from pipeline.data.read import Slice
from pipeline.data.rows import Broken, TextRules, file_names
from pipeline.errors import FormatError

MAX_TEXT_BYTES = 64 << 20  # the longest novels have some ten million letters


class Config(TextRules):
    """How a file is cut into documents, and what its bytes mean."""

    separator: str | None = identity(
        None, description="the line between two documents, '' for a blank one; null: a file is a document"
    )
    encoding: str = identity("utf-8", description="with a separator it must agree with ASCII on line ends")

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            codecs.lookup(name)
        except LookupError:
            raise ValueError(f"Python knows no encoding {name!r}; try utf-8 or latin-1") from None
        return name

    def slices(self, files: Sequence[Path]) -> list[Slice]:
        """Return one slice for each file."""
        read = _whole if self.separator is None else _parts
        return [partial(read, self, path, name) for path, name in file_names(files).items()]


def _whole(config: Config, path: Path, name: str) -> Iterator[Text | Broken]:
    try:
        with unpacked(path) as file:
            content = file.read(MAX_TEXT_BYTES + 1)
    except FormatError as fault:
        yield Broken("damaged-file", name, str(fault))
        return
    yield _document(config, content, name)


def _parts(config: Config, path: Path, name: str) -> Iterator[Text | Broken]:
    """Yield the documents between separator lines; each is named by the line it begins in."""
    assert config.separator is not None
    separator = config.separator.encode(config.encoding)
    report = FileReport(str(path))
    begin, content = 1, bytearray()
    for first, lines in read_lines(path, report, lambda _: None):
        for number, line in enumerate(lines, start=first):
            if line.rstrip() == separator:
                if content.strip():
                    yield _document(config, bytes(content), f"{name}#line={begin}")
                begin, content = number + 1, bytearray()
            elif len(content) <= MAX_TEXT_BYTES:
                content += line + b"\n"
    if content.strip():
        yield _document(config, bytes(content), f"{name}#line={begin}")
    for _ in range(report.dropped["line-too-long"]):
        yield Broken("line-too-long", name, "left out of the document around it")
    if report.fault:
        yield Broken("damaged-file", name, report.fault)


def _document(config: Config, content: bytes, place: str) -> Text | Broken:
    if len(content) > MAX_TEXT_BYTES:
        return Broken("too-long", place, f"more than {MAX_TEXT_BYTES:,} bytes; is there a separator?")
    try:
        text = content.decode(config.encoding)
    except UnicodeDecodeError as fault:
        return Broken("wrong-encoding", place, str(fault)[-200:])
    return config.document(text.removeprefix("\ufeff"), place)
