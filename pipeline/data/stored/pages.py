"""Read stored pages: the responses of WARC files, ours or anybody's."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from pipeline.data.crawl.fetchlog import LIVE
from pipeline.data.crawl.warc import LOG_HEADER
from pipeline.data.stored.framing import DamagedError, Framing, framing
from pipeline.data.stored.responses import MAX_BYTES, NoPageError, parse
from pipeline.data.url import UrlError, canonical
from pipeline.errors import FormatError
from pipeline.formats.typed import inside

log = logging.getLogger("loglinear.data")


@dataclass(frozen=True, slots=True)
class Page:
    """One stored response."""

    url: str
    canonical_url: str
    fetched: str
    charset: str | None
    body: bytes
    source: str | None = None  # "live" or "commoncrawl"; not known of foreign files


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A response that gives no page, or a place in the file where no record could be read.

    `reason` is the short name that counts are kept under: the crawler's own (`http-404`, `content-type`,
    `body-too-large`, …), `not-http`, or `damaged` and `truncated`, whose `url` is not known.
    """

    reason: str
    detail: str
    url: str


def read_pages(path: Path, part: int, parts: int) -> Iterator[Page | Unreadable]:
    """Yield the responses that begin in slice number `part` of a WARC file cut into `parts` equal slices.

    Every response is in exactly one slice, and so is every damage, which costs the records it hits and no
    more. A file that ends within a record is noticed; one cut off between two is noticed only where something
    else says how long it was (`check_sizes`). FormatError if this is no WARC file, or one compressed whole.
    """
    with framing(path) as (frames, size):
        place, end = frames.first_of_slice(size * part // parts), size * (part + 1) // parts
        if not part and place:
            yield _damage(path, frames, 0)
        while place < end:
            place = yield from _up_to_damage(path, frames, place, end, size)


def check_sizes(pages: Path) -> None:
    """Raise FormatError unless the files of a crawl are as long as its `fetch-log.parquet` says."""
    import duckdb

    with duckdb.connect() as database:
        rows = database.execute(
            'SELECT warc, max("offset" + length) FROM read_parquet(?) WHERE warc IS NOT NULL GROUP BY warc',
            [str(pages / "fetch-log.parquet")],
        ).fetchall()
    for name, expected in sorted(rows):
        path = inside(pages, name, pages / "fetch-log.parquet")
        size = path.stat().st_size if path.exists() else 0
        if size != expected:
            raise FormatError(
                f"{path}: {size} bytes, but fetch-log.parquet tells of {expected}: cut off or replaced; put "
                "the file back, or remove it and `.phases/fetch.json`, and run the same command again to "
                "fetch its pages anew"
            )


def _up_to_damage(
    path: Path, frames: Framing, place: int, end: int, size: int
) -> Generator[Page | Unreadable, None, int]:
    """Yield the responses of whole records from `place` on, and the first damage behind them if it is ours.

    Returns where to read on. A record is whole only when the one behind it has been reached, for a checksum
    stands after what it speaks of: each response waits for that before it is yielded.
    """
    start, waiting = None, None
    try:
        for begun, outcome in _outcomes(path, frames, place, end):
            if waiting is not None:
                yield waiting
            start, waiting = begun, outcome
            if start >= end:
                return start
        stop = place if start is None else frames.end(start)
    except DamagedError as fault:
        yield _unreadable(path, fault)
        return frames.next_start((start or place) + 1)
    if waiting is not None:
        yield waiting
    if stop == size or (stop >= end and frames.is_start(stop)):
        return stop
    yield _damage(path, frames, stop)
    return frames.next_start(stop + 1)


def _outcomes(
    path: Path, frames: Framing, place: int, end: int
) -> Iterator[tuple[int, Page | Unreadable | None]]:
    """Yield where each record from `place` on starts, and what a response gives, while records can be read.

    What stopped the reading, and whether an end without a word is one, the framing can tell.
    """
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    start = None
    with path.open("rb") as file, contextlib.suppress(OSError, ValueError):
        file.seek(place)
        for record in ArchiveIterator(file, parse_http=False):
            if not frames.is_start(record.stream_pos):
                raise _shared_member(path, start)
            start = record.stream_pos
            is_ours = start < end and record.record_type == WarcRecordType.response
            yield start, _outcome(record) if is_ours else None


def _damage(path: Path, frames: Framing, place: int) -> Unreadable:
    """Return what is said of a place where no record could be read."""
    try:
        frames.end(place)
    except DamagedError as fault:
        return _unreadable(path, fault)
    return _unreadable(path, DamagedError("damaged", f"record at {place}: no WARC header that can be read"))


def _unreadable(path: Path, fault: DamagedError) -> Unreadable:
    log.warning("%s: %s: %s", path, fault.reason, fault)
    return Unreadable(fault.reason, f"{path.name}: {fault}", "")


def _shared_member(path: Path, start: int | None) -> Exception:
    """Return the fault of a record that begins inside a gzip member, behind the one that began at `start`."""
    if start:
        return DamagedError("damaged", f"record at {start}: it does not fill its gzip member")
    return FormatError(
        f"{path}: compressed as a whole, not record by record, so that a record is found only by reading all "
        f"before it; `warcio recompress {path} NEW.warc.gz` mends that"
    )


def _outcome(record: Any) -> Page | Unreadable:
    """Return the page of a response record, or why it has none."""
    headers = record.headers
    url = headers.get("WARC-Target-URI", "").strip("<>")
    try:
        if record.content_length > MAX_BYTES:
            raise NoPageError("body-too-large", f"{record.content_length} bytes")
        response = parse(record.reader.read())
        body = response.payload()
    except NoPageError as fault:
        return Unreadable(fault.reason, str(fault), url)
    known = _noted(headers.get(LOG_HEADER))
    return Page(
        url=url,
        canonical_url=known.get("canonical_url") or _canonical(url),
        fetched=headers.get("WARC-Date", ""),
        charset=response.charset,
        body=body,
        source=known.get("source", LIVE) if known else None,
    )


def _noted(row: str | None) -> dict[str, Any]:
    """Return what a record of ours says of the link it answers, for a redirect may have led elsewhere."""
    try:
        known = orjson.loads(row or "{}")
    except orjson.JSONDecodeError:
        return {}  # not ours
    return known if isinstance(known, dict) else {}


def _canonical(url: str) -> str:
    try:
        return canonical(url)
    except UrlError:
        return url  # no web address, but the name under which somebody stored the page
