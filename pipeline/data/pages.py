"""Read stored pages: the responses of WARC files, and what the links say of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from pipeline.data.url import UrlError, canonical
from pipeline.data.warc import LOG_HEADER
from pipeline.errors import FormatError

MOST_BODY_BYTES = (
    64 << 20
)  # after decompression; the crawler's own limit is far below, foreign files have none


@dataclass(frozen=True, slots=True)
class Page:
    """One stored response."""

    url: str
    canonical_url: str
    fetched: str
    charset: str | None
    body: bytes


def read_pages(path: Path, part: int, parts: int) -> Iterator[Page]:
    """Yield each `parts`-th response of a WARC file, beginning with number `part`; FormatError if it is
    damaged.
    """
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    number = -1
    try:
        with path.open("rb") as file:
            for record in ArchiveIterator(file, record_types=WarcRecordType.response, parse_http=False):
                number += 1
                if number % parts == part:
                    record.parse_http()
                    yield _page(record)
    except (OSError, ValueError) as fault:
        raise FormatError(
            f"{path}: damaged after page {number + 1} ({fault}); remove the file and `.phases/fetch.json`, "
            f"and run the same command again to fetch what is missing"
        ) from None


def karma_of(links: Sequence[Path], urls: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return the highest and the summed karma of those canonical URLs that the links know.

    The files may hold tens of millions of links: they are scanned, never loaded.
    """
    if not links or not urls:
        return {}
    import duckdb
    import pyarrow as pa

    wanted = pa.table({"canonical_url": sorted(set(urls))})
    with duckdb.connect(config={"threads": 1}) as database:
        database.register("wanted", wanted)
        rows = database.execute(
            "select canonical_url, karma_max, karma_sum from read_parquet(?) "
            "join wanted using (canonical_url)",
            [[str(path) for path in links]],
        ).fetchall()
    return {url: (int(highest), int(total)) for url, highest, total in rows}


def _page(record: object) -> Page:
    headers = record.headers  # type: ignore[attr-defined]
    url = headers.get("WARC-Target-URI", "").strip("<>")
    # Our crawler says which link a page answers, for a redirect may have led elsewhere; foreign files do not.
    log = headers.get(LOG_HEADER)
    return Page(
        url=url,
        canonical_url=orjson.loads(log)["canonical_url"] if log else _canonical(url),
        fetched=headers.get("WARC-Date", ""),
        charset=record.http_charset,  # type: ignore[attr-defined]
        body=record.reader.read(MOST_BODY_BYTES),  # type: ignore[attr-defined]
    )


def _canonical(url: str) -> str:
    try:
        return canonical(url)
    except UrlError:
        return url  # no web address, but the name under which somebody stored the page
