"""JSON lines, one document each: plain, or packed by gzip, zstd, xz or bzip2.

Also the documents that this stage, datatrove or Dolma write. Of a key given twice the last counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO

import orjson

from pipeline.data.documents import Text
from pipeline.data.lines import COMPRESSIONS, MAX_LINE_BYTES, FileReport, read_lines
from pipeline.data.read import Slice
from pipeline.data.rows import DETAIL_CHARACTERS, Broken, RowRules, file_names

# A slice of a plain file is one task; a packed file can only be read from its beginning.
SLICE_BYTES = 64 << 20
_BOM = b"\xef\xbb\xbf"


class Config(RowRules):
    """Which keys hold what. Lines that are no documents are counted under a reason, and never fatal."""

    def slices(self, files: Sequence[Path]) -> list[Slice]:
        """Return one slice for each packed file, and for every `SLICE_BYTES` of the others."""
        slices: list[Slice] = []
        for path, name in file_names(files).items():
            if path.suffix in COMPRESSIONS:
                slices.append(partial(_packed, self, path, name))
                continue
            starts = range(0, path.stat().st_size, SLICE_BYTES)
            slices += [partial(_plain, self, path, name, start, start + SLICE_BYTES) for start in starts]
        return slices


def _plain(rules: RowRules, path: Path, name: str, start: int, stop: int) -> Iterator[Text | Broken]:
    """Yield the documents of the lines that begin at `start` or after and before `stop`."""
    with path.open("rb") as file:
        if start:
            file.seek(start - 1)  # if that is a line's end, the first line begins at `start` itself
            start += _skip_line(file) - 1
        while start < stop and (line := file.readline(MAX_LINE_BYTES + 1)):
            place = f"byte={start}"
            start += len(line)
            if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
                start += _skip_line(file)
                yield Broken("line-too-long", f"{name}#{place}", _beginning(line))
            elif line.strip():
                yield _document(rules, line, name, place)


def _packed(rules: RowRules, path: Path, name: str) -> Iterator[Text | Broken]:
    """Yield the documents of all lines, up to where the file is cut off or damaged."""
    report = FileReport(str(path))
    too_long = 0
    for number, lines in read_lines(path, report, lambda _: None):
        for each, line in enumerate(lines, start=number):
            if line.strip():
                yield _document(rules, line, name, f"line={each}")
        while too_long < report.dropped["line-too-long"]:
            too_long += 1
            yield Broken("line-too-long", f"{name}#line={report.lines}", "")
    if report.fault:
        yield Broken("damaged-file", name, report.fault)


def _document(rules: RowRules, line: bytes, name: str, place: str) -> Text | Broken:
    try:
        row = orjson.loads(line.removeprefix(_BOM))
    except orjson.JSONDecodeError as fault:
        return _broken(line, f"{name}#{place}", str(fault))
    if type(row) is not dict:
        return Broken("not-an-object", f"{name}#{place}", _beginning(line))
    return rules.row(row, name, place)


def _broken(line: bytes, place: str, fault: str) -> Broken:
    try:
        line.decode()
    except UnicodeDecodeError as fault_in_text:
        return Broken("invalid-utf-8", place, str(fault_in_text)[-DETAIL_CHARACTERS:])
    return Broken("broken-json", place, f"{fault}: {_beginning(line)}")


def _beginning(line: bytes) -> str:
    return line[:DETAIL_CHARACTERS].decode("utf-8", "replace")


def _skip_line(file: IO[bytes]) -> int:
    """Go to the end of the line; returns how many bytes that were."""
    skipped = 0
    while piece := file.readline(1 << 20):
        skipped += len(piece)
        if piece.endswith(b"\n"):
            break
    return skipped
