"""WARC 1.1 files of a crawl: one gzip member per record, appended whole, found again after a crash.

As in Common Crawl's files a payload is stored inflated, under a `Content-Encoding` header renamed
`X-Crawler-Content-Encoding`, so that readers need no decoder and no cap of their own. The row of the fetch
log is kept in the record's `Loglinear-Log` header (JSON): a record tells which link it answers, and one that
was written just before a crash is still accounted for.
"""

import base64
import hashlib
import io
import os
import uuid
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

LOG_HEADER = "Loglinear-Log"
_HOP_HEADERS = {"content-encoding", "content-length", "transfer-encoding"}
_GZIP_BITS = zlib.MAX_WBITS + 16
_CHUNK_BYTES = 1 << 16
_HEAD_BYTES = 1 << 16  # more than any record's own headers take


@dataclass(frozen=True, slots=True)
class Page:
    """A reply worth keeping; `payload` is inflated, `headers` are as received."""

    url: str  # the one that answered, after redirects
    status: int
    phrase: str
    headers: list[tuple[str, str]]
    payload: bytes
    digest: str  # of the payload
    identified_type: str
    log: Mapping[str, Any] = field(default_factory=dict)  # the link's row of the fetch log


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record lies."""

    warc: str  # file name
    offset: int
    length: int


class WarcFiles:
    """The files one worker writes, `NAME-00000.warc.gz` and so on; each crawl begins a new one."""

    def __init__(self, directory: Path, name: str, *, max_bytes: int, gzip_level: int, software: str):
        self._directory, self._name = directory, name
        self._max_bytes, self.gzip_level, self._software = max_bytes, gzip_level, software
        numbers = [
            int(path.name[len(name) + 1 : -len(".warc.gz")]) for path in directory.glob(f"{name}-*.warc.gz")
        ]
        self._number = max(numbers, default=-1) + 1
        self._file: io.FileIO | None = None
        self._size = 0

    def append(self, record: bytes) -> Place:
        """Write one member whole; after a failure (a full disk) the file ends where it did before."""
        if self._file is None:
            self._begin()
        place = Place(Path(self._file_name()).name, self._size, len(record))
        self._write(record)
        if self._size >= self._max_bytes:
            self.close()
        return place

    def close(self) -> None:
        """End the current file, on disk."""
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            self._file, self._number = None, self._number + 1

    def _begin(self) -> None:
        path = self._directory / self._file_name()
        self._file, self._size = path.open("xb", buffering=0), 0
        self._write(_information(path.name, self._software, self.gzip_level))

    def _file_name(self) -> str:
        return f"{self._name}-{self._number:05d}.warc.gz"

    def _write(self, record: bytes) -> None:
        assert self._file is not None
        try:
            written = 0
            while written < len(record):
                written += self._file.write(memoryview(record)[written:])
        except OSError:
            self._file.truncate(self._size)
            self._file.seek(self._size)
            raise
        self._size += len(record)


def record(page: Page) -> bytes:
    """Return a response record, to be made a `member`."""
    lines = [f"{_stored_name(name)}: {_one_line(value)}\r\n" for name, value in page.headers]
    http = f"HTTP/1.1 {page.status} {_one_line(page.phrase)}\r\n{''.join(lines)}"
    head = f"{http}Content-Length: {len(page.payload)}\r\n\r\n".encode()
    fields = {
        "WARC-Target-URI": page.url,
        "WARC-Payload-Digest": page.digest,
        "WARC-Block-Digest": digest(head, page.payload),
        "WARC-Identified-Payload-Type": page.identified_type,
        LOG_HEADER: orjson.dumps(page.log).decode(),
        "Content-Type": "application/http; msgtype=response",
    }
    return _record("response", fields, head, page.payload)


def member(data: bytes, gzip_level: int) -> bytes:
    """Return a record as one gzip member."""
    compressor = zlib.compressobj(gzip_level, zlib.DEFLATED, _GZIP_BITS)
    return compressor.compress(data) + compressor.flush()


def digest(*parts: bytes) -> str:
    """Return a digest as WARC writes it: SHA-1 in base 32."""
    sha1 = hashlib.sha1(usedforsecurity=False)
    for part in parts:
        sha1.update(part)
    return "sha1:" + base64.b32encode(sha1.digest()).decode()


def repair(path: Path) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yield place and log row of every whole response record of a file, then cut off what is not whole.

    At the end the file is on disk, whatever becomes of the machine.
    """
    end = 0
    for place, head in _members(path):
        end = place.offset + place.length
        row = _log_row(head)
        if row is not None:
            yield place, row
    with path.open("rb+") as file:
        file.truncate(end)
        os.fsync(file.fileno())


def _members(path: Path) -> Iterator[tuple[Place, bytes]]:
    """Yield place and first bytes of every gzip member whose checksum holds, up to the first that fails."""
    start, position, inflater, head = 0, 0, zlib.decompressobj(_GZIP_BITS), b""
    with path.open("rb") as file:
        while data := file.read(_CHUNK_BYTES):
            position += len(data)
            while data:
                try:
                    inflated = inflater.decompress(data)
                except zlib.error:
                    return
                head = head + inflated[:_HEAD_BYTES] if len(head) < _HEAD_BYTES else head
                data = inflater.unused_data
                if inflater.eof:
                    end = position - len(data)
                    yield Place(path.name, start, end - start), head
                    start, inflater, head = end, zlib.decompressobj(_GZIP_BITS), b""


def _log_row(head: bytes) -> dict[str, Any] | None:
    for line in head.partition(b"\r\n\r\n")[0].split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == LOG_HEADER.encode():
            return dict(orjson.loads(value))
    return None


def _information(name: str, software: str, gzip_level: int) -> bytes:
    about = {
        "software": software,
        "format": "WARC File Format 1.1",
        "conformsTo": "http://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/",
        "robots": "obey",
    }
    block = "".join(f"{key}: {value}\r\n" for key, value in about.items()).encode()
    fields = {"WARC-Filename": name, "Content-Type": "application/warc-fields"}
    return member(_record("warcinfo", fields, block), gzip_level)


def _record(kind: str, fields: Mapping[str, str], *block: bytes) -> bytes:
    """Return a record of WARC 1.1, now its date."""
    date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    known = {"WARC-Type": kind, "WARC-Record-ID": f"<urn:uuid:{uuid.uuid4()}>", "WARC-Date": date, **fields}
    lines = "".join(f"{name}: {value}\r\n" for name, value in known.items())
    head = f"WARC/1.1\r\n{lines}Content-Length: {sum(map(len, block))}\r\n\r\n"
    return b"".join((head.encode(), *block, b"\r\n\r\n"))


def _stored_name(name: str) -> str:
    return f"X-Crawler-{name}" if name.lower() in _HOP_HEADERS else _one_line(name).replace(":", " ")


def _one_line(text: str) -> str:
    """Return a value that cannot end its line: what a server sends must not become structure of ours."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else " " for character in text)
