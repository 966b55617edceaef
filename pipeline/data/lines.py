"""Lines of a text file as the world left it: compressed, cut off, damaged, with lines of any length.

What can be read is read, every line is counted, and what ended a file early is named; nothing here is fatal.
"""

import bz2
import gzip
import lzma
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESSIONS = (".zst", ".xz", ".bz2", ".gz")
MAX_LINE_BYTES = 8 << 20
SAMPLES_PER_FILE = 100
_CHUNK_BYTES = 1 << 17  # fits a core's cache; a MiB is slower
_WINDOW_LOG = 31  # Reddit dumps are written with `zstd --long=31`
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_CHECKSUM = 4  # the bit of the byte after it
_FAULTS = (EOFError, OSError, lzma.LZMAError, zlib.error, zstd.ZstdError)


@dataclass(slots=True)
class FileReport:
    """What was read of one file: lines (rows of a table), why some were dropped, what ended it early."""

    file: str
    lines: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    malformed: list[dict[str, Any]] = field(default_factory=list)  # samples
    unreliable_scores: int = 0  # submissions, see pipeline.data.linking.submissions
    has_checksums: bool = True  # without, a flipped bit may pass for a letter
    fault: str | None = None

    def broken(self, number: int, line: bytes, why: str) -> str:
        """Note a line that cannot be understood; returns the reason to count it under."""
        if not line.strip():
            return "empty-line"
        if len(self.malformed) < SAMPLES_PER_FILE:
            start = line[:200].decode("utf-8", "replace")
            self.malformed.append({"file": self.file, "line": number, "why": why, "start": start})
        return "malformed"


def read_lines(
    path: Path, report: FileReport, advance: Callable[[int], None]
) -> Iterator[tuple[int, list[bytes]]]:
    r"""Yield lists of whole lines without their `\n`, each with the number of its first; fills `report`.

    `advance` is told the bytes of the file read since it was last called.
    """
    rest, read_bytes, position = b"", 0, 0
    try:
        with path.open("rb") as raw:
            report.has_checksums = path.suffix != ".zst" or _has_checksum(raw)
            chunks = _chunks(path.suffix, raw)
            for chunk in chunks:
                text = chunk if read_bytes else chunk.removeprefix(b"\xef\xbb\xbf")
                read_bytes += len(chunk)
                *lines, rest = (rest + text).split(b"\n")
                yield report.lines + 1, lines
                report.lines += len(lines)
                if len(rest) > MAX_LINE_BYTES:
                    report.lines += 1
                    report.dropped["line-too-long"] += 1
                    rest = _after_line(chunks)
                advance(raw.tell() - position)
                position = raw.tell()
    except _FAULTS as fault:
        what = str(fault) or type(fault).__name__
        report.fault = f"{path}: unreadable after {read_bytes:,} bytes of content ({what})"
    if rest:
        lines = rest.removesuffix(b"\n").split(b"\n")  # several after a line that was too long
        yield report.lines + 1, lines
        report.lines += len(lines)


def _chunks(suffix: str, raw: BinaryIO) -> Iterator[bytes]:
    """Yield the content of a file piece by piece, none of them large, however well it was compressed."""
    match suffix:
        case ".zst":
            options = {int(zstd.DecompressionParameter.window_log_max): _WINDOW_LOG}
            yield from _streams(raw, lambda: zstd.ZstdDecompressor(options=options))
        case ".xz":
            yield from _streams(raw, lzma.LZMADecompressor)
        case ".bz2":
            yield from _streams(raw, bz2.BZ2Decompressor)
        case ".gz":
            unzipped = gzip.GzipFile(fileobj=raw)
            # read1, not read: of a file that is cut off, `read` would lose what came before the cut.
            yield from iter(lambda: unzipped.read1(_CHUNK_BYTES), b"")
        case _:
            yield from iter(lambda: raw.read(_CHUNK_BYTES), b"")


def _streams(raw: BinaryIO, new_decoder: Callable[[], Any]) -> Iterator[bytes]:
    """Decompress stream after stream; unlike the libraries' files, take nothing unreadable for the end."""
    data = raw.read(_CHUNK_BYTES)
    while data:
        decoder = new_decoder()
        while not decoder.eof:
            if decoder.needs_input and not data and not (data := raw.read(_CHUNK_BYTES)):
                raise EOFError("the file ends inside a compressed stream")
            yield decoder.decompress(data, _CHUNK_BYTES)
            data = b""
        data = decoder.unused_data.lstrip(b"\0")  # zeros are padding
        while not data and (data := raw.read(_CHUNK_BYTES)):
            data = data.lstrip(b"\0")


def _has_checksum(raw: BinaryIO) -> bool:
    """Tell whether a zstd file's first frame ends in a checksum; true of what is no zstd file."""
    header = raw.read(5)
    raw.seek(0)
    return header[:4] != _ZSTD_MAGIC or len(header) < 5 or bool(header[4] & _ZSTD_CHECKSUM)


def _after_line(chunks: Iterator[bytes]) -> bytes:
    """Skip to the end of a line; returns what follows it in the same chunk."""
    for chunk in chunks:
        _, end, rest = chunk.partition(b"\n")
        if end:
            return rest
    return b""
