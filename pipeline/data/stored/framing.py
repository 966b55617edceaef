"""Where records begin and end in a WARC file, also in a damaged one.

Readers of the format take a file that stops in the middle for one that is complete, and give up at the first
byte that is wrong. What is needed to do better is here, apart from reading the records themselves: whether a
record starts at a place, where it ends, and where the next one starts if that cannot be told.
"""

from __future__ import annotations

import mmap
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from pipeline.errors import FormatError

_GZIP_MAGIC = b"\x1f\x8b\x08"
_GZIP_BITS = zlib.MAX_WBITS + 16
_VERSION = re.compile(rb"WARC/\d\.\d{1,2}\s")
_VERSION_BYTES = 10
_PIECE_BYTES = 1 << 16
_LENGTH = re.compile(rb"^content-length:[ \t]*(\d{1,15})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_HEAD_BYTES = 1 << 15  # of a record's own header; what the reader of records allows too
_BETWEEN = b"\r\n\r\n"
_LINE_ENDS = re.compile(rb"[\r\n]*")


class DamagedError(Exception):
    """A record that does not end as it should; `reason` is the short name that counts are kept under."""

    def __init__(self, reason: str, detail: str):
        super().__init__(detail)
        self.reason = reason


class Framing(Protocol):
    """The places of records in one file."""

    def is_start(self, place: int) -> bool:
        """Tell whether a record starts here."""

    def end(self, start: int) -> int:
        """Return where the record that starts here ends. Raises DamagedError if it is not whole."""

    def next_start(self, place: int) -> int:
        """Return the first place from here on that looks like the start of a record, or the file's size."""

    def first_of_slice(self, place: int) -> int:
        """Return the first start from here on, with nothing known of what comes before."""


@contextmanager
def framing(path: Path) -> Iterator[tuple[Framing, int]]:
    """Yield the framing of a WARC file and the file's size; FormatError if it is empty or something else."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise FormatError(
                f"{path}: empty, but a WARC file begins with a record; remove it or copy it anew"
            )
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield _framing(path, data), len(data)


def _framing(path: Path, data: mmap.mmap) -> Framing:
    both: tuple[Framing, Framing] = (_Members(data), _Plain(data))
    for frames in both:
        if frames.is_start(0):
            return frames
    for frames in both:  # the first record may be damaged
        if frames.next_start(1) < len(data):
            return frames
    raise FormatError(
        f"{path}: not a WARC file, neither plain nor compressed by gzip (begins with {data[:12]!r}); "
        "leave it out of the paths, or convert it with `warcio recompress`"
    )


class _Members:
    """A file whose records are gzip members.

    Starts are found by a member's first bytes and by what these inflate to. A record that holds a WARC file
    of incompressible small members could show false ones, to slices that begin inside it; they end as damage.
    """

    def __init__(self, data: mmap.mmap):
        self._data = data

    def is_start(self, place: int) -> bool:
        if self._data[place : place + 3] != _GZIP_MAGIC:
            return False
        try:
            start = zlib.decompressobj(_GZIP_BITS).decompress(self._data[place : place + 512], _VERSION_BYTES)
        except zlib.error:
            return False
        return _VERSION.match(start) is not None

    def end(self, start: int) -> int:
        inflater, place = zlib.decompressobj(_GZIP_BITS), start
        while not inflater.eof:
            piece = inflater.unconsumed_tail or self._data[place : place + _PIECE_BYTES]
            if not piece:
                raise DamagedError("truncated", f"the file ends within the record at {start}")
            place += 0 if inflater.unconsumed_tail else len(piece)
            try:
                inflater.decompress(piece, 16 * _PIECE_BYTES)
            except zlib.error as fault:
                raise DamagedError("damaged", f"record at {start}: {fault}") from None
        return place - len(inflater.unused_data)

    def next_start(self, place: int) -> int:
        while (place := self._data.find(_GZIP_MAGIC, place)) >= 0:
            if self.is_start(place):
                return place
            place += 1
        return len(self._data)

    def first_of_slice(self, place: int) -> int:
        return self.next_start(place)


class _Plain:
    """A file of records one after the other, uncompressed."""

    def __init__(self, data: mmap.mmap):
        self._data = data

    def is_start(self, place: int) -> bool:
        return _VERSION.match(self._data, place) is not None

    def end(self, start: int) -> int:
        size = len(self._data)
        head = _HEAD_END.search(self._data, start, start + _HEAD_BYTES)
        length = _LENGTH.search(self._data, start, head.end()) if head else None
        place = head.end() + int(length[1]) if head and length else size + 1
        if self._data[place : place + len(_BETWEEN)] == _BETWEEN:
            return place + len(_BETWEEN)
        if place <= size:  # some writers leave out what should stand between records, or part of it
            place = _LINE_ENDS.match(self._data, place).end()  # type: ignore[union-attr]
            if place == size or self.is_start(place):
                return place
        if place > size and self.next_start(start + 1) == size:
            raise DamagedError("truncated", f"the file ends within the record at {start}")
        raise DamagedError("damaged", f"record at {start}: it does not end where its Content-Length says")

    def next_start(self, place: int) -> int:
        while (place := self._data.find(b"WARC/", place)) >= 0:
            if self._data[max(0, place - 4) : place] == _BETWEEN and self.is_start(place):
                return place
            place += 1
        return len(self._data)

    def first_of_slice(self, place: int) -> int:
        # Not searched for as in a compressed file: pages may well show what a WARC file looks like.
        start = 0 if self.is_start(0) else self.next_start(1)
        while start < place:
            try:
                start = self.end(start)
            except DamagedError:
                start = self.next_start(start + 1)
        return start
