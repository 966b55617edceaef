"""Bodies of replies: inflated piece by piece under a cap, and told apart by what they are.

A body of 200 bytes can hold gigabytes, in several layers. Nothing here ever holds more than the cap and one
piece: every layer is inflated 64 KiB at a time and counted as it comes out.
"""

import sys
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ACCEPT_ENCODING = "gzip, br, zstd"
_PIECE_BYTES = 1 << 16
_MAX_LAYERS = 2
_MAX_MEMBERS = 100  # of one gzip body; each costs a copy of what follows it
_RATIO_FREE_BYTES = 1 << 20  # small pages may be as repetitive as they like
_ZSTD_WINDOW_LOG = 23  # RFC 9659: 8 MiB is the most a sender may ask for
_SNIFFED_BYTES = 1024
_XHTML = "application/xhtml+xml"


class BodyRefusedError(Exception):
    """A body that is too large, inflates too far or cannot be decoded; `reason` is the short name."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


class Body:
    """The payload of one reply, gathered from the pieces that arrive."""

    def __init__(self, content_encoding: str, *, max_bytes: int, max_ratio: float):
        names = [name for name in content_encoding.lower().replace(" ", "").split(",") if name not in _PLAIN]
        if len(names) > _MAX_LAYERS or any(name not in _LAYERS for name in names):
            raise BodyRefusedError("content-encoding")
        self._layers = [_LAYERS[name]() for name in reversed(names)]
        self._made = [0] * len(self._layers)
        self._max_bytes, self._max_ratio = max_bytes, max_ratio
        self._payload = bytearray()
        self.wire_bytes = 0

    def add(self, data: bytes) -> None:
        """Take the next bytes off the wire. Raises BodyRefusedError."""
        self.wire_bytes += len(data)
        if self.wire_bytes > self._max_bytes:
            raise BodyRefusedError("body-too-large")
        pieces: Iterable[bytes] = (data,)
        for depth in range(len(self._layers)):
            pieces = self._inflated(depth, pieces)
        for piece in pieces:
            self._payload += piece

    def __len__(self) -> int:
        return len(self._payload)

    def start(self) -> bytes:
        """Return the payload as far as it has come."""
        return bytes(self._payload)

    def payload(self) -> bytes:
        """Return the whole payload. Raises BodyRefusedError where a layer's end has not come."""
        if self.wire_bytes and not all(layer.ended for layer in self._layers):
            raise BodyRefusedError("decoding")
        return bytes(self._payload)

    def _inflated(self, depth: int, pieces: Iterable[bytes]) -> Iterator[bytes]:
        try:
            for piece in pieces:
                for inflated in self._layers[depth].inflate(piece):
                    self._made[depth] += len(inflated)
                    self._check(self._made[depth])
                    yield inflated
        except (zlib.error, zstd.ZstdError, _brotli_error(), EOFError, MemoryError):
            raise BodyRefusedError("decoding") from None

    def _check(self, made: int) -> None:
        if made > self._max_bytes:
            raise BodyRefusedError("body-too-large")
        if made > _RATIO_FREE_BYTES and made > self._max_ratio * self.wire_bytes:
            raise BodyRefusedError("compression-ratio")


class _Layer(Protocol):
    ended: bool

    def inflate(self, data: bytes) -> Iterator[bytes]: ...


class _Zlib:
    """gzip (any number of members) and deflate (with or without the zlib header that it should have)."""

    def __init__(self, is_gzip: bool):
        self._is_gzip, self._members, self.ended = is_gzip, 0, False
        self._inflater: Any = None

    def inflate(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._inflater is None:
                if self._members and not data.startswith(b"\x1f"):
                    return  # what follows the last member is ignored, as browsers do
                self._inflater = self._begin(data[0])
            while True:
                piece = self._inflater.decompress(data, _PIECE_BYTES)
                yield piece
                data = self._inflater.unconsumed_tail
                if self._inflater.eof or not (data or len(piece) == _PIECE_BYTES):
                    break
            if self._inflater.eof:
                self.ended, data = True, self._inflater.unused_data if self._is_gzip else b""
                self._inflater = None if self._is_gzip else self._inflater

    def _begin(self, first: int) -> Any:
        self._members, self.ended = self._members + 1, False
        if self._members > _MAX_MEMBERS:
            raise BodyRefusedError("decoding")
        has_header = first & 0x0F == zlib.DEFLATED
        bits = zlib.MAX_WBITS + 16 if self._is_gzip else zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS
        return zlib.decompressobj(bits)


class _Brotli:
    def __init__(self) -> None:
        import brotli

        self._inflater, self.ended = brotli.Decompressor(), False

    def inflate(self, data: bytes) -> Iterator[bytes]:
        # Until nothing comes: that it "can accept more data" does not mean that all output has been taken.
        piece = self._inflater.process(data, output_buffer_limit=_PIECE_BYTES)
        while piece:
            yield piece
            piece = b"" if self._inflater.is_finished() else self._drained()
        self.ended = self._inflater.is_finished()

    def _drained(self) -> bytes:
        return self._inflater.process(b"", output_buffer_limit=_PIECE_BYTES)  # type: ignore[no-any-return]


class _Zstd:
    def __init__(self) -> None:
        self._inflater, self.ended = self._begin(), False

    def inflate(self, data: bytes) -> Iterator[bytes]:
        if self._inflater.eof:
            return
        yield self._inflater.decompress(data, _PIECE_BYTES)
        while not self._inflater.eof and not self._inflater.needs_input:
            yield self._inflater.decompress(b"", _PIECE_BYTES)
        self.ended = self._inflater.eof

    @staticmethod
    def _begin() -> Any:
        return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG})


_PLAIN = ("", "identity")
_LAYERS: dict[str, Any] = {
    "gzip": lambda: _Zlib(True),
    "x-gzip": lambda: _Zlib(True),
    "deflate": lambda: _Zlib(False),
    "br": _Brotli,
    "zstd": _Zstd,
}


def _brotli_error() -> type[Exception]:
    import brotli

    return brotli.error  # type: ignore[no-any-return]


def media_type(content_type: str) -> str:
    """Return the type of a `Content-Type` header without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def identified_type(payload: bytes) -> str:
    """Return what a payload is by its first bytes: HTML, XHTML, text, or neither."""
    start = payload[:_SNIFFED_BYTES]
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        start = start[2:].replace(b"\0", b"")  # UTF-16: the letters that matter here are ASCII
    start = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith(b"<?xml") and b"<html" in start:
        return _XHTML
    if b"xhtml" in start[:200] and start.startswith(b"<!doctype html"):
        return _XHTML
    if start.startswith(b"<") and not start.startswith(b"<?xml"):
        return "text/html"
    if b"<html" in start or b"<!doctype html" in start:
        return "text/html"
    return "application/octet-stream" if _BINARY.intersection(start) else "text/plain"


# Control characters that no text holds (WHATWG MIME sniffing, "binary data byte").
_BINARY = frozenset([*range(0x00, 0x09), 0x0B, *range(0x0E, 0x1B), *range(0x1C, 0x20)])
