"""The crawler against servers that misbehave.

Nothing here leaves 127.0.0.1: names are mapped to a server of the test, and addresses that must be refused
are refused before there is a socket (see test_addresses.py).
"""

import asyncio
import gzip
import io
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import brotli
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastwarc.warc import ArchiveIterator
from pydantic import ValidationError

from pipeline.data import fetch as phase
from pipeline.data import links
from pipeline.data.fetch import FetchConfig
from pipeline.data.fetchlog import journal_path
from pipeline.data.url import canonical, url_hash
from pipeline.errors import ConfigError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PAGE = b"<!doctype html><html><body>" + b"words and words. " * 20 + b"</body></html>"
BOMB = bytes(32 << 20)


def reply(body: bytes = PAGE, status: str = "200 OK", **headers: str) -> bytes:
    lines = {"Content-Type": "text/html; charset=utf-8", "Content-Length": str(len(body))}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def moved(location: str, status: str = "302 Found") -> bytes:
    return reply(b"", status, Location=location)


class Server:
    """A server in a thread: `pages` maps a path, or host and path, to bytes or to what writes them."""

    def __init__(self):
        self.pages, self.requests, self.times = {"/robots.txt": reply(b"", "404 Not Found")}, [], []
        self._loop, ready = asyncio.new_event_loop(), threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(ready,))
        self._thread.start()
        ready.wait(10)

    def _serve(self, ready):
        async def main():
            self._stop = asyncio.Event()
            server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
            self.place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            ready.set()
            await self._stop.wait()
            server.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.sleep(0)

        self._loop.run_until_complete(main())
        self._loop.close()

    async def _answer(self, reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode("latin-1").split("\r\n")
                path = lines[0].split(" ")[1]
                host = next(line[6:] for line in lines if line.lower().startswith("host: "))
                self.requests.append((host, path))
                self.times.append(time.monotonic())
                page = self.pages.get(f"{host}{path}", self.pages.get(path, reply(b"", "404 Not Found")))
                if callable(page):
                    await page(writer)
                    return
                writer.write(page)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    def close(self):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def asked(self, path: str) -> int:
        return sum(asked == path for _, asked in self.requests)


@pytest.fixture
def server():
    running = Server()
    yield running
    running.close()


def write_links(out: Path, urls: list[str]) -> None:
    def row(url):
        try:
            key = canonical(url)
        except ValueError:
            key = url
        sums = {"karma_sum": 3, "karma_max": 3, "submissions": 1, "first_seen": 0, "subreddits": []}
        return {"url": url, "canonical_url": key, "surt": "", **sums}

    (out / "links").mkdir(parents=True)
    rows = sorted(map(row, urls), key=lambda row: url_hash(row["canonical_url"]))
    pq.write_table(pa.Table.from_pylist(rows, links.SCHEMA), out / "links" / "00000.parquet")


QUICK = {
    "host_delay_seconds": 0,
    "retry_seconds": 0.01,
    "connect_seconds": 1,
    "first_byte_seconds": 0.5,
    "total_seconds": 1,
    "attempts": 2,
}


def config(server: Server, **more) -> FetchConfig:
    return FetchConfig(**{"hosts": {"*.test": server.place}, "allow": [server.place], **QUICK, **more})


def crawl(server: Server, out: Path, urls: list[str], **more) -> dict[str, dict]:
    """Return the rows of the fetch log by path."""
    write_links(out, urls)
    phase.run(config(server, **more), out).check("fetch")
    return log(out)


def log(out: Path) -> dict[str, dict]:
    rows = pq.read_table(out / "pages" / "fetch-log.parquet").to_pylist()
    return {row["url"].partition(".test")[2] or row["url"]: row for row in rows}


def records(out: Path) -> list:
    found = []
    for path in sorted((out / "pages").glob("*.warc.gz")):
        with path.open("rb") as file:
            for record in ArchiveIterator(file, parse_http=True, verify_digests=True):
                if record.headers["WARC-Type"] == "response":
                    found.append((dict(record.headers), dict(record.http_headers), record.reader.read()))
    return found


def test_a_page_is_stored_whole_and_logged(server, tmp_path):
    server.pages["/a"] = reply(X_Odd="caf\u00e9")

    row = crawl(server, tmp_path, ["http://one.test/a"])["/a"]

    [(headers, http_headers, body)] = records(tmp_path)
    assert body == PAGE
    assert headers["WARC-Target-URI"] == "http://one.test/a"
    assert headers["WARC-Identified-Payload-Type"] == "text/html"
    assert headers["WARC-Payload-Digest"] == row["digest"]
    assert http_headers["Content-Type"] == "text/html; charset=utf-8"
    assert (row["status"], row["reason"], row["bytes"], row["attempts"]) == (200, "stored", len(PAGE), 1)
    assert not journal_path(tmp_path / "pages", 0).exists()


def test_a_row_says_where_its_record_lies(server, tmp_path):
    server.pages |= {f"/{n}": reply(PAGE + b"%d" % n) for n in range(20)}

    rows = crawl(server, tmp_path, [f"http://one.test/{n}" for n in range(20)], file_bytes=2048)

    assert len({row["warc"] for row in rows.values()}) > 3
    for path, row in rows.items():
        data = (tmp_path / "pages" / row["warc"]).read_bytes()[row["offset"] :][: row["length"]]
        assert gzip.decompress(data).rstrip().endswith(PAGE + path[1:].encode())


@pytest.mark.parametrize(
    ("encoding", "encode"), [("gzip", gzip.compress), ("br", brotli.compress), ("zstd", zstd.compress)]
)
def test_a_compressed_page_is_stored_inflated_and_a_bomb_is_not(server, tmp_path, encoding, encode):
    server.pages["/page"] = reply(encode(PAGE), Content_Encoding=encoding)
    server.pages["/bomb"] = reply(encode(BOMB), Content_Encoding=encoding)
    server.pages["/broken"] = reply(b"never compressed", Content_Encoding=encoding)

    rows = crawl(server, tmp_path, [f"http://one.test/{name}" for name in ("page", "bomb", "broken")])

    assert {path: row["reason"] for path, row in rows.items()} == {
        "/page": "stored",
        "/bomb": "body-too-large" if rows["/bomb"]["reason"] == "body-too-large" else "compression-ratio",
        "/broken": "decoding",
    }
    [(_, http_headers, body)] = records(tmp_path)
    assert body == PAGE
    assert http_headers["X-Crawler-Content-Encoding"] == encoding


async def endless(writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        await writer.drain()


async def drip(writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def drip_headers(writer):
    writer.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    while True:
        writer.write(b"X")
        await writer.drain()
        await asyncio.sleep(0.05)


async def silent(writer):
    await asyncio.sleep(30)


async def endless_continue(writer):
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 10)
        await writer.drain()
        await asyncio.sleep(0.01)


async def cut(writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1000\r\n\r\nhalf")
    await writer.drain()


async def nothing(writer):
    writer.close()


MISBEHAVIOUR = {
    "endless-body": (endless, "body-too-large"),
    "announced-too-large": (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", "body-too-large"),
    "one-byte-at-a-time": (drip, "total-timeout"),
    "headers-one-byte-at-a-time": (drip_headers, "first-byte-timeout"),
    "hang": (silent, "first-byte-timeout"),
    "endless-continue": (endless_continue, "first-byte-timeout"),
    "cut": (cut, "connection-cut"),
    "closed": (nothing, "connection-cut"),
    "long-header": (reply(X_Bomb="x" * (1 << 20)), "headers-too-large"),
    "many-headers": (reply(**{f"X_{n}": "y" * 500 for n in range(100)}), "headers-too-large"),
    "not-http": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "bad-response"),
    "two-lengths": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "bad-response",
    ),
    "negative-length": (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", "bad-response"),
    "image": (reply(b"\x89PNG", Content_Type="image/png"), "content-type"),
    "image-called-html": (reply(b"\x89PNG\r\n\x1a\n\x00\x00"), "content-type"),
    "empty": (reply(b""), "empty"),
    "gone": (reply(status="410 Gone"), "http-410"),
    "loop": (moved("/loop"), "too-many-redirects"),
    "to-file": (moved("file:///etc/passwd"), "redirect-not-http"),
    "to-nothing": (moved("http://[::1"), "redirect-bad-url"),
    "to-loopback": (moved("http://127.0.0.1:9/"), "port"),
    "to-metadata": (moved("http://169.254.169.254/latest/meta-data/"), "address-refused"),
    "to-odd-loopback": (moved("//0x7f000001/"), "address-refused"),
    "to-mapped-loopback": (moved("http://[::ffff:127.0.0.1]/"), "address-refused"),
    "to-v6-loopback": (moved("http://[::1]/"), "address-refused"),
}


def test_every_misbehaviour_ends_in_bounded_time_with_its_reason(server, tmp_path):
    server.pages |= {f"/{name}": answer for name, (answer, _) in MISBEHAVIOUR.items()}
    urls = [f"http://h{n}.test/{name}" for n, name in enumerate(MISBEHAVIOUR)]
    start = time.monotonic()

    rows = crawl(server, tmp_path, urls, contact="crawl@example.org")

    assert {path[1:]: row["reason"] for path, row in rows.items()} == {
        name: reason for name, (_, reason) in MISBEHAVIOUR.items()
    }
    assert records(tmp_path) == []
    assert time.monotonic() - start < 20


def test_addresses_of_links_are_refused_like_those_of_redirects(server, tmp_path):
    port = server.place.rpartition(":")[2]
    urls = [
        "http://127.0.0.1/",
        "http://10.0.0.1/",
        "http://[fe80::1]/",
        "http://2130706433/",
        "ftp://x.test/",
    ]

    rows = crawl(server, tmp_path, [*urls, f"http://127.0.0.2:{port}/"], contact="crawl@example.org")

    reasons = Counter(row["reason"] for row in rows.values())
    assert reasons == {"address-refused": 4, "not-http": 1, "port": 1}
    assert server.requests == []


def test_a_redirect_is_followed_and_the_page_is_the_links(server, tmp_path):
    server.pages |= {"/old": moved("http://two.test/new?x=1", "301 Moved"), "/new?x=1": reply()}

    row = crawl(server, tmp_path, ["http://one.test/old"])["/old"]

    assert (row["reason"], row["final_url"]) == ("stored", "http://two.test/new?x=1")
    assert row["canonical_url"] == "http://one.test/old"
    assert records(tmp_path)[0][0]["WARC-Target-URI"] == "http://two.test/new?x=1"


def test_a_passing_trouble_is_tried_again_after_the_time_the_server_asks_for(server, tmp_path):
    async def unavailable_once(writer):
        server.pages["/busy"] = reply()
        writer.write(reply(b"", "503 Service Unavailable", Retry_After="1"))

    server.pages["/busy"] = unavailable_once

    row = crawl(server, tmp_path, ["http://one.test/busy"])["/busy"]

    assert (row["reason"], row["attempts"]) == ("stored", 2)
    assert server.times[-1] - server.times[-2] >= 1


def test_a_server_that_asks_for_more_patience_than_there_is_is_left(server, tmp_path):
    server.pages["/busy"] = reply(b"", "429 Too Many Requests", Retry_After="86400")

    row = crawl(server, tmp_path, ["http://one.test/busy"])["/busy"]

    assert (row["reason"], row["status"], row["attempts"]) == ("http-429", 429, 1)


def test_a_host_that_keeps_failing_is_left_alone(server, tmp_path):
    urls = [f"http://one.test/{n}" for n in range(30)]
    server.pages |= {f"/{n}": nothing for n in range(30)}

    rows = crawl(server, tmp_path, urls, breaker_failures=5, host_connections=1, attempts=1)

    assert Counter(row["reason"] for row in rows.values()) == {"connection-cut": 5, "host-broken": 25}


def test_requests_to_a_host_keep_their_distance(server, tmp_path):
    server.pages |= {f"/{n}": reply() for n in range(6)}

    crawl(server, tmp_path, [f"http://one.test/{n}" for n in range(6)], host_delay_seconds=0.1)

    gaps = [later - earlier for earlier, later in zip(server.times, server.times[1:], strict=False)]
    assert len(gaps) == 6
    assert min(gaps) > 0.08


@pytest.mark.parametrize(
    ("robots", "reason"),
    [
        (reply(b"User-agent: *\nDisallow: /private", Content_Type="text/plain"), "robots"),
        (reply(b"\xef\xbb\xbfUser-agent: loglinear\nDisallow: /", Content_Type="text/plain"), "robots"),
        (reply(b"", "503 Service Unavailable"), "robots-unreachable"),
        (silent, "robots-unreachable"),
        (nothing, "robots-unreachable"),
        (reply(b"", "403 Forbidden"), "stored"),
        (moved("/robots.txt"), "stored"),
        (reply(b"User-agent: *\nDisallow: /private\n" + b"# x\n" * (5 << 18)), "robots"),
        (reply(gzip.compress(b"User-agent: *\nDisallow: /private"), Content_Encoding="gzip"), "robots"),
        (reply(b"<html>no such page</html>"), "stored"),
    ],
)
def test_robots_txt_is_obeyed(server, tmp_path, robots, reason):
    server.pages |= {"/robots.txt": robots, "/private/page": reply()}

    row = crawl(server, tmp_path, ["http://one.test/private/page"])["/private/page"]

    assert row["reason"] == reason
    assert server.asked("/private/page") == (reason == "stored")


def test_robots_txt_is_asked_for_once_a_host_and_also_on_redirects(server, tmp_path):
    server.pages |= {f"/{n}": reply() for n in range(10)} | {"/away": moved("http://two.test/secret")}
    server.pages["two.test/robots.txt"] = reply(b"User-agent: *\nDisallow: /secret")

    rows = crawl(server, tmp_path, [f"http://one.test/{n}" for n in range(10)] + ["http://one.test/away"])

    assert server.asked("/robots.txt") == 2
    assert rows["/away"]["reason"] == "robots"
    assert server.asked("/secret") == 0


def test_a_crawl_of_public_servers_needs_a_contact(server, tmp_path):
    write_links(tmp_path, ["http://public.example/", "http://one.test/"])

    with pytest.raises(ConfigError, match="public.example is a public server"):
        phase.run(config(server), tmp_path)

    assert server.requests == []


def test_the_agent_says_who_it_is(server, tmp_path):
    assert phase._user_agent(config(server, contact="https://example.org/crawl")).endswith(
        "(+https://example.org/crawl)"
    )


@pytest.mark.parametrize("wrong", [{"allow": ["localhost:80"]}, {"hosts": {"a.test": "80"}}, {"attempts": 0}])
def test_a_wrong_configuration_is_refused(wrong):
    with pytest.raises(ValidationError):
        FetchConfig(**wrong)


def test_workers_share_the_links_by_registered_domain(server, tmp_path):
    urls = [f"http://{sub}.site{n}.test/" for n in range(20) for sub in ("a", "b")]
    server.pages["/"] = reply()
    write_links(tmp_path, urls)

    for rank in range(3):
        phase.fetch_share(config(server), tmp_path, rank=rank, world_size=3)
    phase.publish_log(tmp_path, world_size=3)

    rows = pq.read_table(tmp_path / "pages" / "fetch-log.parquet").to_pylist()
    workers = {}
    for row in rows:
        workers.setdefault(row["canonical_url"].split(".")[1], set()).add(row["warc"][:3])
    assert len(rows) == 40
    assert all(len(ranks) == 1 for ranks in workers.values())
    assert set.union(*workers.values()) == {"000", "001", "002"}


CRAWL = """
import resource, sys
from pathlib import Path
from pipeline.data import fetch
place, out, limit = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
config = fetch.FetchConfig(hosts={"*.test": place}, allow=[place], host_delay_seconds=0, file_bytes=20_000)
fetch.run(config, Path(out))
"""


def crawling(server: Server, out: Path, largest_file: int = 1 << 30) -> subprocess.Popen:
    command = [sys.executable, "-c", CRAWL, server.place, str(out), str(largest_file)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_a_killed_crawl_asks_again_only_for_what_is_not_whole(server, tmp_path):
    urls = [f"http://h{n % 7}.test/{n}" for n in range(400)]
    server.pages |= {f"/{n}": reply(PAGE + os.urandom(500).hex().encode()) for n in range(390)}
    write_links(tmp_path, urls)

    for stop_after in (60, 120, 250):
        process = crawling(server, tmp_path)
        while (
            sum(path != "/robots.txt" for _, path in server.requests) < stop_after and process.poll() is None
        ):
            time.sleep(0.001)
        process.kill()
        process.communicate()
    counts = phase.run(config(server), tmp_path)

    assert (counts.documents_in, counts.documents_out, counts.dropped) == (400, 390, {"http-404": 10})
    assert Counter(record[0]["WARC-Target-URI"] for record in records(tmp_path)).most_common(1)[0][1] == 1
    asked = Counter(path for _, path in server.requests if path != "/robots.txt")
    again = sum(n - 1 for n in asked.values())
    assert again <= 3 * 14  # what was in work at each of three kills: 7 hosts, 2 requests each


def test_a_disk_that_fills_up_is_said_and_what_was_fetched_is_kept(server, tmp_path):
    server.pages |= {f"/{n}": reply(PAGE + os.urandom(9000).hex().encode()) for n in range(20)}
    write_links(tmp_path, [f"http://one.test/{n}" for n in range(20)])

    process = crawling(server, tmp_path, largest_file=12_000)  # EFBIG, where a full disk says ENOSPC
    message = process.communicate()[1]
    kept = len(records(tmp_path))
    server.requests.clear()
    counts = phase.run(config(server), tmp_path)

    assert process.returncode == 1
    assert "StageError" in message
    assert "make room there and run the same command again" in message
    assert 0 < kept < 20
    assert counts.documents_out == len(records(tmp_path)) == 20
    assert len([path for _, path in server.requests if path != "/robots.txt"]) == 20 - kept


def test_a_torn_record_is_cut_off_and_a_whole_one_without_its_line_is_kept(server, tmp_path):
    server.pages |= {f"/{n}": reply() for n in range(5)}
    write_links(tmp_path, [f"http://one.test/{n}" for n in range(5)])
    phase.fetch_share(config(server, host_connections=1), tmp_path, rank=0, world_size=1)
    journal, warc = journal_path(tmp_path / "pages", 0), tmp_path / "pages" / "000-00000.warc.gz"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:3]) + lines[3][:20])  # the lines of the last two records are lost
    os.truncate(warc, warc.stat().st_size - 10)  # and the last record is torn
    server.requests.clear()

    counts = phase.run(config(server), tmp_path)

    assert counts.documents_out == 5
    assert len(records(tmp_path)) == 5
    assert len([path for _, path in server.requests if path != "/robots.txt"]) == 1


def test_lines_of_records_that_never_reached_the_disk_are_taken_back(server, tmp_path):
    server.pages |= {f"/{n}": reply() for n in range(5)}
    write_links(tmp_path, [f"http://one.test/{n}" for n in range(5)])
    phase.fetch_share(config(server), tmp_path, rank=0, world_size=1)
    warc = tmp_path / "pages" / "000-00000.warc.gz"
    data = warc.read_bytes()
    warc.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))

    counts = phase.run(config(server), tmp_path)

    assert counts.documents_out == 5
    assert len(records(tmp_path)) == 5


def test_a_finished_crawl_is_not_repeated(server, tmp_path):
    server.pages["/a"] = reply()
    crawl(server, tmp_path, ["http://one.test/a"])
    server.requests.clear()

    assert phase.run(config(server), tmp_path).documents_out == 1
    assert server.requests == []


def test_what_a_server_sends_cannot_break_out_of_its_record(server, tmp_path):
    from pipeline.data.warc import Page, digest, record

    evil = [("X-Evil", "a\r\n\r\nWARC/1.1\r\nWARC-Type: response"), ("X-Bell", "\x07\x0b\x85\u2028")]
    page = Page(
        "http://one.test/", 200, "OK\r\nX: y", evil, PAGE, digest(PAGE), "text/html", {"url": "x\r\ny"}
    )

    parsed = next(iter(ArchiveIterator(io.BytesIO(bytes(record(page))), parse_http=True)))

    assert parsed.reader.read() == PAGE
    assert parsed.http_headers["X-Evil"] == "a    WARC/1.1  WARC-Type: response"
