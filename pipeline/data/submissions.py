"""Reddit submissions dumps as batches of scored links: decompression, lines, JSON, the rules per submission.

Dumps are as the world left them: cut off, with broken lines, in five compressions. Good lines are kept, every
other line is counted under a reason, and a file that ends too early is named; nothing here is fatal.
"""

import bz2
import gzip
import lzma
import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson

from pipeline.data.blocklists import Blocked
from pipeline.data.url import UrlError, canonical

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FORMATS = (".zst", ".xz", ".bz2", ".gz")
MAX_LINE_BYTES = 8 << 20
SAMPLES_PER_FILE = 100
_CHUNK_BYTES = 1 << 20
_WINDOW_LOG = 31  # Reddit dumps are written with `zstd --long=31`
_PLAIN_HOST = re.compile(r"https?://([a-z0-9.-]+)/")
_LAST_SECOND = 1 << 33  # year 2242
# From 2023-04 to 2023-10 scores were collected once, seconds after posting, and are nearly all 0 or 1.
_UNRELIABLE = range(1_680_307_200, 1_698_796_800)
_FAULTS = (EOFError, OSError, lzma.LZMAError, zlib.error, zstd.ZstdError)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Which submissions count, apart from karma; times are seconds since 1970."""

    drop_self: bool
    drop_over_18: bool
    drop_subreddits: frozenset[str]  # lower case
    since: int
    until: int
    blocked: Blocked


@dataclass(slots=True)
class Links:
    """Columns of a batch of submissions that passed the rules, one row each."""

    url: list[str] = field(default_factory=list)
    canonical_url: list[str] = field(default_factory=list)
    score: list[int] = field(default_factory=list)
    created: list[int] = field(default_factory=list)  # seconds since 1970
    subreddit: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.url)


@dataclass(slots=True)
class FileReport:
    """What was read of one dump file: lines, why lines were dropped, broken ones, what ended it."""

    file: str
    lines: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    malformed: list[dict[str, Any]] = field(default_factory=list)
    unreliable_scores: int = 0
    fault: str | None = None


def read_links(
    path: Path, rules: Rules, report: FileReport, batch_rows: int, advance: Callable[[int], None]
) -> Iterator[Links]:
    """Yield batches of at least `batch_rows` links (the last may be smaller); fills `report`.

    `advance` is told the compressed bytes read since it was last called.
    """
    links = Links()
    for lines in read_lines(path, report, advance):
        reasons = [
            _add(links, line, rules, report, number) for number, line in enumerate(lines, report.lines + 1)
        ]
        report.lines += len(lines)
        report.dropped.update(reason for reason in reasons if reason is not None)
        if len(links) >= batch_rows:
            yield links
            links = Links()
    if len(links):
        yield links


def read_lines(path: Path, report: FileReport, advance: Callable[[int], None]) -> Iterator[list[bytes]]:
    """Yield lists of whole lines without their ends; what ends a file early becomes `report.fault`."""
    rest, read_bytes, position = b"", 0, 0
    try:
        with path.open("rb") as raw, _decompressed(path, raw) as file:
            while chunk := _read(file):
                if not read_bytes:
                    chunk = chunk.removeprefix(b"\xef\xbb\xbf")
                read_bytes += len(chunk)
                *lines, rest = (rest + chunk).split(b"\n")
                yield lines
                if len(rest) > MAX_LINE_BYTES:
                    rest = b""
                    rest = _drop_long_line(file, report)
                advance(raw.tell() - position)
                position = raw.tell()
    except _FAULTS as fault:
        what = str(fault) or type(fault).__name__
        report.fault = f"{path}: unreadable after {read_bytes:,} bytes of content ({what})"
    if rest:
        yield rest.removesuffix(b"\n").split(b"\n")


def _add(links: Links, line: bytes, rules: Rules, report: FileReport, number: int) -> str | None:
    """Append the submission of a line; returns why not, if not."""
    try:
        row = orjson.loads(line)
        url, score, created = row["url"], row["score"], int(row["created_utc"])
        if type(url) is not str or type(score) is not int or not 0 <= created < _LAST_SECOND:
            raise ValueError("url, score or created_utc is not of the right kind")
        subreddit = row.get("subreddit") or ""
        if type(subreddit) is not str or not -(1 << 53) < score < 1 << 53:
            raise ValueError("subreddit or score is not of the right kind")
    except (ValueError, KeyError, TypeError, OverflowError) as fault:
        return _malformed(line, fault, report, number)
    reason = _unwanted(row, created, subreddit, rules)
    if reason is not None:
        return reason
    plain = _PLAIN_HOST.match(url)
    if plain is not None and rules.blocked.covers(plain[1]):
        return "blocked-domain"  # half of all links; known before the cost of a canonical form
    url = url.replace("&amp;", "&") if "&amp;" in url else url  # some months are escaped as HTML
    try:
        key = canonical(url)
    except UrlError as fault:
        return fault.reason
    reason = rules.blocked.reason(key)
    if reason is not None:
        return reason
    report.unreliable_scores += created in _UNRELIABLE
    links.url.append(url)
    links.canonical_url.append(key)
    links.score.append(score)
    links.created.append(created)
    links.subreddit.append(subreddit)
    return None


def _unwanted(row: dict[str, Any], created: int, subreddit: str, rules: Rules) -> str | None:
    if rules.drop_self and (row["is_self"] if "is_self" in row else _looks_self(row)):
        return "self-post"
    if rules.drop_over_18 and row.get("over_18"):
        return "over-18"
    if subreddit.lower() in rules.drop_subreddits:
        return "subreddit"
    return None if rules.since <= created < rules.until else "date"


def _looks_self(row: dict[str, Any]) -> bool:
    """Tell a self post in dumps from before the field existed."""
    return str(row.get("domain")).startswith("self.")


def _malformed(line: bytes, fault: Exception, report: FileReport, number: int) -> str:
    if not line.strip():
        return "empty-line"
    if len(report.malformed) < SAMPLES_PER_FILE:
        why = f"no {fault}" if isinstance(fault, KeyError) else str(fault)
        start = line[:200].decode("utf-8", "replace")
        report.malformed.append({"file": report.file, "line": number, "why": why, "start": start})
    return "malformed"


def _decompressed(path: Path, raw: BinaryIO) -> BinaryIO:
    match path.suffix:
        case ".zst":
            options = {int(zstd.DecompressionParameter.window_log_max): _WINDOW_LOG}
            return cast(BinaryIO, zstd.ZstdFile(raw, options=options))
        case ".xz":
            return cast(BinaryIO, lzma.LZMAFile(raw))
        case ".bz2":
            return cast(BinaryIO, bz2.BZ2File(raw))
        case ".gz":
            return cast(BinaryIO, gzip.GzipFile(fileobj=raw))
    return raw


def _read(file: Any) -> bytes:
    # read1, not read: with a file that is cut off, `read` would lose what came before the cut.
    return bytes(file.read1(_CHUNK_BYTES))


def _drop_long_line(file: BinaryIO, report: FileReport) -> bytes:
    """Skip to the end of a line that is too long to be a submission; returns what follows it."""
    report.lines += 1
    report.dropped["line-too-long"] += 1
    while chunk := _read(file):
        _, end, rest = chunk.partition(b"\n")
        if end:
            return rest
    return b""
