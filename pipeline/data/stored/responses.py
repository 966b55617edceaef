"""Stored HTTP responses: the bytes of a `response` record become status, headers and payload.

Our own files hold payloads as they were shown to nobody but the parser: inflated, in one piece. Those of
others hold whatever came over the wire, or claim to: a body may be chunked and compressed as its headers say,
or long since unpacked under headers that were left as they were.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.data.crawl.bodies import Body, BodyRefusedError, identified_type, media_type

PAGE_TYPES = frozenset(["text/html", "application/xhtml+xml", "text/plain"])
MAX_BYTES = 16 << 20  # of a payload; the crawler's own limit is below, files of others have none
MAX_RATIO = 100.0  # inflated to stored, from 1 MiB on: the crawler's own
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_HEAD_BYTES = 1 << 18
_STATUS = re.compile(rb"HTTP/\d(?:\.\d)?[ \t]+(\d{3})(?=\s|$)")
_HEADER = re.compile(
    rb"^(content-type|content-encoding|transfer-encoding)[ \t]*:((?:[^\r\n]|\r?\n[ \t])*)",
    re.IGNORECASE | re.MULTILINE,
)
_FOLD = re.compile(rb"\r?\n[ \t]+")
_CHUNK = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\n]{0,4096})?\r?\n")
_LINE_END = re.compile(rb"\r?\n")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([^\s\"';,]+)", re.IGNORECASE)


class NoPageError(Exception):
    """A response without a page in it; `reason` is the short name, the crawler's own where it has one."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response as it stands in a record, with those of its headers that say how to read it."""

    status: int
    headers: dict[str, str]
    raw: memoryview  # the body as stored

    @property
    def charset(self) -> str | None:
        """Return the charset that the server declared."""
        found = _CHARSET.search(self.headers.get("content-type", ""))
        return found[1] if found else None

    def payload(self) -> bytes:
        """Return what a reader of the page would get, of a body that is one. Raises NoPageError."""
        if self.status != 200:
            raise NoPageError(f"http-{self.status}")
        declared = media_type(self.headers.get("content-type", ""))
        if declared and declared not in PAGE_TYPES:
            raise NoPageError("content-type", declared)
        payload = _inflated(self._unchunked(), self.headers.get("content-encoding", ""))
        found = identified_type(payload)
        if found not in PAGE_TYPES:
            raise NoPageError("content-type", f"{found}, declared as {declared or 'nothing'}")
        return payload

    def _unchunked(self) -> memoryview:
        coding = self.headers.get("transfer-encoding", "").lower()
        return unchunked(self.raw) if "chunked" in coding else self.raw


def parse(block: bytes) -> Response:
    """Return the response in the block of a record. Raises NoPageError if it holds none."""
    status = _STATUS.match(block)
    if status is None:
        raise NoPageError("not-http", repr(block[:40]))
    end = _HEAD_END.search(block, 0, _HEAD_BYTES)
    if end is None and len(block) > _HEAD_BYTES:
        raise NoPageError("headers-too-large")
    headers: dict[str, str] = {}
    for name, value in _HEADER.findall(block, 0, end.start() if end else len(block)):
        headers.setdefault(name.decode().lower(), _FOLD.sub(b" ", value).strip().decode("latin-1"))
    return Response(int(status[1]), headers, memoryview(block)[end.end() if end else len(block) :])


def unchunked(raw: memoryview) -> memoryview:
    """Return a body without its chunk sizes; as it is if it has none, up to the first size that is wrong."""
    pieces, place = bytearray(), 0
    while size := _CHUNK.match(raw, place):
        length = int(size[1], 16)
        if not length:
            return memoryview(pieces)
        pieces += raw[size.end() : size.end() + length]
        place = size.end() + length
        line_end = _LINE_END.match(raw, place)
        place = line_end.end() if line_end else place
    return memoryview(pieces) if place else raw


def _inflated(raw: memoryview, encoding: str) -> bytes:
    """Return a body without its content encoding, or as it is if it reads as text: unpacked by a crawler."""
    if len(raw) > MAX_BYTES:
        raise NoPageError("body-too-large")
    if not encoding:
        return bytes(raw)
    try:
        body = Body(encoding, max_bytes=MAX_BYTES, max_ratio=MAX_RATIO)
        body.add(bytes(raw))
        return body.payload()
    except BodyRefusedError as refused:
        if refused.reason in ("decoding", "content-encoding") and identified_type(bytes(raw)) in PAGE_TYPES:
            return bytes(raw)
        raise NoPageError(refused.reason, encoding) from None
