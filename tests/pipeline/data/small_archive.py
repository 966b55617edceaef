"""A small Common Crawl: WARC files, their columnar index, a server of ranges, and runs of the phase on it."""

import base64
import gzip
import hashlib
import io
import re
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fastwarc.warc import ArchiveIterator, WarcRecordType
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from pipeline.data import commoncrawl
from pipeline.data.commoncrawl import CommonCrawlConfig
from pipeline.data.counts import PhaseCounts
from pipeline.data.crawl import fetchlog
from pipeline.data.linking import karma
from pipeline.data.stored.pages import Page, read_pages
from pipeline.data.url import canonical, surt, url_hash

HTML = "text/html; charset=utf-8"
WARC = "crawl-data/CC-1/00000.warc.gz"
INDEX = "cc-index/table/subset=warc/part-0.parquet"
QUICK = {"spacing_seconds": 0.05, "attempts": 3}


def write_archive(path: Path, captures: list[Mapping[str, Any]]) -> None:
    """Write captures as Common Crawl does: `url`, `body`, perhaps `date`, `status`, `type`, `truncated`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = WARCWriter(file, gzip=True)
        writer.write_record(writer.create_warcinfo_record(path.name, {"publisher": "a test"}))
        for capture in captures:
            body = capture["body"]
            lines = [("Content-Type", capture.get("type", HTML)), ("X-Crawler-Content-Encoding", "gzip")]
            status = StatusAndHeaders(capture.get("status", "200 OK"), lines, protocol="HTTP/1.1")
            headers = {"WARC-Date": f"{capture.get('date', '2017-12-10')}T12:00:00Z"}
            if capture.get("truncated"):
                headers["WARC-Truncated"] = "length"
            block = {"payload": io.BytesIO(body), "length": len(body), "http_headers": status}
            writer.write_record(
                writer.create_warc_record(capture["url"], "response", warc_headers_dict=headers, **block)
            )


def index_rows(path: Path, name: str) -> list[dict[str, Any]]:
    """Return the index's rows of a WARC file whose records are gzip members."""
    size, rows = path.stat().st_size, []
    with path.open("rb") as file:
        starts = [record.stream_pos for record in ArchiveIterator(file, parse_http=False)] + [size]
    with path.open("rb") as file:
        for record in ArchiveIterator(file, record_types=WarcRecordType.response, parse_http=True):
            url, offset = record.headers["WARC-Target-URI"].strip("<>"), record.stream_pos
            digest = hashlib.sha1(record.reader.read(), usedforsecurity=False).digest()
            kind = (record.http_headers.get("Content-Type") or "").partition(";")[0].strip()
            rows.append(
                {
                    "url_surtkey": surt(canonical(url)),
                    "url": url,
                    "fetch_time": datetime.fromisoformat(record.headers["WARC-Date"]).replace(tzinfo=None),
                    "fetch_status": record.http_headers.status_code,
                    "content_digest": base64.b32encode(digest).decode(),
                    "content_mime_type": kind,
                    "content_mime_detected": kind,
                    "content_truncated": record.headers.get("WARC-Truncated"),
                    "warc_filename": name,
                    "warc_record_offset": offset,
                    "warc_record_length": next(start for start in starts if start > offset) - offset,
                }
            )
    return rows


def write_index(path: Path, rows: list[dict[str, Any]], without: str = "") -> None:
    """Write an index file, sorted by SURT as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = sorted(rows, key=lambda row: row["url_surtkey"])
    table = pa.Table.from_pylist(rows, SCHEMA)
    pq.write_table(table.drop_columns([without]) if without else table, path, row_group_size=100)


def write_list(path: Path, names: list[str]) -> None:
    """Write a crawl's list of index files."""
    path.write_bytes(gzip.compress("".join(f"{name}\n" for name in names).encode()))


SCHEMA = pa.schema(
    [
        ("url_surtkey", pa.string()),
        ("url", pa.string()),
        ("fetch_time", pa.timestamp("ms")),
        ("fetch_status", pa.int16()),
        ("content_digest", pa.string()),
        ("content_mime_type", pa.string()),
        ("content_mime_detected", pa.string()),
        ("content_truncated", pa.string()),
        ("warc_filename", pa.string()),
        ("warc_record_offset", pa.int32()),
        ("warc_record_length", pa.int32()),
    ]
)


class Reply:
    """What a server sends for a range; a misbehaviour changes it."""

    def __init__(self, data: bytes, first: int, last: int):
        self.status, self.headers = 206, {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
        self.whole, self.body = data, data[first : last + 1]
        self.length = len(self.body)  # as announced


class RangeServer:
    """Sends ranges of the files below a folder; `odd` may change the replies for WARC files."""

    def __init__(self, folder: Path, odd: Callable[[Reply, int], None] | None = None):
        self.requests: list[tuple[str, str, str]] = []  # path, range, user agent
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                span, path = self.headers.get("Range", ""), folder / self.path.lstrip("/")
                server.requests.append((self.path, span, self.headers["User-Agent"]))
                asked = re.fullmatch(r"bytes=(\d+)-(\d+)", span)
                assert asked, f"not a range: {span!r}"
                if not path.is_file():
                    self.send_error(404)
                    return
                reply = Reply(path.read_bytes(), int(asked[1]), int(asked[2]))
                if odd and path.name.endswith(".warc.gz"):
                    odd(reply, server.asked_warc())
                self.send_response(reply.status)
                for name, value in {**reply.headers, "Content-Length": str(reply.length)}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)
                self.close_connection = reply.length != len(reply.body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.place = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.place}/"

    def asked_warc(self) -> int:
        return sum(path.endswith(".warc.gz") for path, _, _ in self.requests)

    def __enter__(self) -> "RangeServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def body(text: str) -> bytes:
    return f"<!doctype html><html><body><p>{text}</p></body></html>".encode()


def write_links(dataset: Path, urls: list[str], first_seen: str | None = "2017-12-01") -> None:
    seen = datetime.fromisoformat(first_seen).replace(tzinfo=UTC) if first_seen else None
    sums = {"karma_sum": 3, "karma_max": 3, "submissions": 1, "first_seen": seen, "subreddits": []}
    keys = sorted(map(canonical, urls), key=url_hash)
    rows = [{"url": key, "canonical_url": key, "surt": surt(key), **sums} for key in keys]
    (dataset / "links").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, karma.SCHEMA), dataset / "links" / "00000.parquet")


def make_archive(root: Path, captures: list[dict[str, Any]], **index: Any) -> None:
    write_archive(root / WARC, captures)
    write_index(root / INDEX, index_rows(root / WARC, WARC), **index)


def many(count: int) -> list[dict[str, Any]]:
    return [{"url": f"http://site{n % 7}.test/{n}", "body": body(f"page {n}")} for n in range(count)]


def at(place: Path, phase: Any, follows: bool = True, **settings: Any) -> PhaseCounts:
    """Run the phase with the archive in a folder."""
    config = CommonCrawlConfig(**{"index": [str(place / INDEX)], "files": str(place), **QUICK, **settings})
    return commoncrawl.run(config, phase("commoncrawl"), follows)


def over(server: RangeServer, phase: Any, **settings: Any) -> PhaseCounts:
    """Run the phase with the archive behind a server."""
    sources = {"index": [server.url + INDEX], "files": server.url, "allow": [server.place]}
    return commoncrawl.run(
        CommonCrawlConfig(**{**sources, **QUICK, **settings}), phase("commoncrawl"), fetch_follows=True
    )


def log(dataset: Path, name: str = fetchlog.COMMONCRAWL) -> dict[str, dict[str, Any]]:
    return {row["canonical_url"]: row for row in pq.read_table(dataset / "pages" / name).to_pylist()}


def stored(dataset: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted((dataset / "pages").glob("*.warc.gz")):
        for page in read_pages(path, 0, 1):
            assert isinstance(page, Page)
            assert page.canonical_url not in found, "stored twice"
            found[page.canonical_url] = page.body
    return found
