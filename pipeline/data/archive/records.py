"""Records out of Common Crawl's archive: checked to be what the index promised, and made records of ours.

A record is kept as it was archived, with its date, its digests and, where the archive cut the page off,
`WARC-Truncated`; one header is added, which says which link it answers.
"""

import zlib
from dataclasses import dataclass

import orjson

from pipeline.data.crawl.bodies import identified_type, media_type
from pipeline.data.crawl.fetchlog import STORED, Row
from pipeline.data.crawl.warc import LOG_HEADER, digest
from pipeline.data.stored.responses import MAX_BYTES, NoPageError, parse

SOURCE = "commoncrawl"
_HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Capture:
    """One record of the archive, and the link that it is taken for."""

    link: str
    canonical_url: str
    url: str
    warc_filename: str
    warc_record_offset: int
    warc_record_length: int
    content_digest: str | None

    @property
    def row(self) -> Row:
        """Return what the log says of it before anything has been read."""
        return Row(url=self.link, canonical_url=self.canonical_url, final_url=self.url, source=SOURCE)


def checked(data: bytes, capture: Capture, seconds: float) -> tuple[Row, bytes]:
    """Return the log's row of a page and its record, to be made a gzip member.

    Raises NoPageError: `damaged` for what is not one whole gzip member with one whole record, `wrong-record`
    for another page than the index says, `wrong-digest` for another version of it, or why it is no page.
    """
    head, block = _record(_inflated(data))
    fields = _fields(head)
    if fields.get("warc-type") != "response" or fields.get("warc-target-uri", "").strip("<>") != capture.url:
        detail = f"{fields.get('warc-type')} of {fields.get('warc-target-uri')}"
        raise NoPageError("wrong-record", detail)
    response = parse(block)
    expected = capture.content_digest or fields.get("warc-payload-digest", "")
    if not _is_digest(expected, bytes(response.raw)):
        raise NoPageError("wrong-digest", expected)
    payload = response.payload()
    row = capture.row
    row["status"], row["reason"] = response.status, STORED
    row["content_type"] = media_type(response.headers.get("content-type", "")) or identified_type(payload)
    row["bytes"], row["digest"] = len(payload), digest(payload)
    row["seconds"] = round(seconds, 3)
    return row, _ours(head, block, row)


def _inflated(data: bytes) -> bytes:
    inflater = zlib.decompressobj(zlib.MAX_WBITS + 16)
    try:
        plain = inflater.decompress(data, MAX_BYTES)
    except zlib.error as fault:
        raise NoPageError("damaged", str(fault)) from None
    if inflater.unconsumed_tail:
        raise NoPageError("body-too-large")
    if not inflater.eof or inflater.unused_data:
        raise NoPageError("damaged", "not one whole gzip member")
    return plain


def _record(plain: bytes) -> tuple[bytes, bytes]:
    """Return head and block of the one record in a member."""
    head, _, rest = plain.partition(_HEAD_END)
    length = _fields(head).get("content-length", "")
    if not head.startswith(b"WARC/") or not length.isdecimal() or rest[int(length) :] != _HEAD_END:
        raise NoPageError("damaged", "not one whole WARC record")
    return head, rest[: int(length)]


def _fields(head: bytes) -> dict[str, str]:
    lines = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return {
        name.decode("latin-1").lower(): value.decode("utf-8", "replace").strip() for name, _, value in lines
    }


def _is_digest(expected: str, payload: bytes) -> bool:
    """Tell whether a digest is that of a payload; one of another algorithm than SHA-1 is not checked."""
    algorithm, _, value = expected.rpartition(":")
    return algorithm not in ("", "sha1") or not value or digest(payload) == f"sha1:{value}"


def _ours(head: bytes, block: bytes, row: Row) -> bytes:
    """Return a record with its link's row of the log, which replaces any that it came with."""
    ours = LOG_HEADER.encode()
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(ours.lower() + b":")]
    return b"\r\n".join([*lines, ours + b": " + orjson.dumps(row), b"", block, b"", b""])
