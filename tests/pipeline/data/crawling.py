"""A crawl on this machine: servers that misbehave, links to them, and what came of the crawl.

Nothing here leaves 127.0.0.1: names are mapped to a server of the test, and addresses that must be refused
are refused before there is a socket (see test_addresses.py).
"""

import asyncio
import json
import resource
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from fastwarc.warc import ArchiveIterator

from pipeline.data import fetch
from pipeline.data.counts import PhaseCounts
from pipeline.data.execute import ExecuteConfig
from pipeline.data.fetch import FetchConfig
from pipeline.data.phase import PhaseRun
from pipeline.data.url import canonical, url_hash

PAGE = b"<!doctype html><html><body>" + b"words and words. " * 20 + b"</body></html>"


def reply(body: bytes = PAGE, status: str = "200 OK", **headers: str) -> bytes:
    lines = {"Content-Type": "text/html; charset=utf-8", "Content-Length": str(len(body))}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def moved(location: str, status: str = "302 Found") -> bytes:
    return reply(b"", status, Location=location)


class Server:
    """A server in a thread: `pages` maps a path, or host and path, to bytes or to what writes them."""

    def __init__(self, tls: ssl.SSLContext | None = None):
        self.pages, self.requests, self.times = {"/robots.txt": reply(b"", "404 Not Found")}, [], []
        self.heads, self._tls = [], tls
        self._loop, ready = asyncio.new_event_loop(), threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(ready,))
        self._thread.start()
        ready.wait(10)

    def _serve(self, ready):
        async def main():
            self._stop = asyncio.Event()
            server = await asyncio.start_server(self._answer, "127.0.0.1", 0, ssl=self._tls)
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
                self.heads.append(head)
                self.times.append(time.monotonic())
                page = self.pages.get(f"{host}{path}", self.pages.get(path, reply(b"", "404 Not Found")))
                if callable(page):
                    await page(writer)
                    return
                writer.write(page)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            pass
        finally:
            writer.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def asked(self, path: str) -> int:
        return sum(asked == path for _, asked in self.requests)

    def pages_asked(self) -> list[str]:
        return [path for _, path in self.requests if path != "/robots.txt"]


def write_links(out: Path, urls: list[str]) -> None:
    def row(url):
        try:
            key = canonical(url)
        except ValueError:
            key = url
        return {"url": url, "canonical_url": key}

    (out / "links").mkdir(parents=True)
    rows = sorted(map(row, urls), key=lambda row: url_hash(row["canonical_url"]))
    pq.write_table(pa.Table.from_pylist(rows), out / "links" / "00000.parquet")


QUICK = {
    "host_delay_seconds": 0,
    "retry_seconds": 0.01,
    "connect_seconds": 1,
    "first_byte_seconds": 0.5,
    "total_seconds": 1,
    "attempts": 2,
    "breaker_seconds": 0.2,
}


def config(server: Server, **more) -> FetchConfig:
    hosts = {"*.test": server.place, **more.pop("hosts", {})}
    return FetchConfig(**{"hosts": hosts, "allow": [server.place], **QUICK, **more})


def run(config: FetchConfig, out: Path, at_a_time: int = 1) -> PhaseCounts:
    execute = ExecuteConfig(workers=at_a_time, retries=0)
    work = out / ".phases" / "fetch"
    return fetch.run(config, PhaseRun(name="fetch", dataset=out, source=out, work=work, execute=execute))


def crawl(server: Server, out: Path, urls: list[str], **more) -> dict[str, dict]:
    """Return the rows of the fetch log by path."""
    write_links(out, urls)
    run(config(server, **more), out).check("fetch")
    return log(out)


def crawling(server: Server, out: Path, **more) -> subprocess.Popen:
    """Start a crawl in a process of its own; it prints by how many bytes its peak of memory grew."""
    command = [sys.executable, "-m", "tests.pipeline.data.crawling", server.place, str(out), json.dumps(more)]
    root = Path(__file__).parents[3]
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def main(place: str, out: Path, options: dict) -> None:
    largest = options.pop("largest_file", resource.RLIM_INFINITY)  # EFBIG, where a full disk says ENOSPC
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    if files := options.pop("open_files", None):
        resource.setrlimit(resource.RLIMIT_NOFILE, files)
    at_a_time = options.pop("at_a_time", 1)
    defaults = {"hosts": {"*.test": place}, "allow": [place], **QUICK}
    if warm := options.pop("warm", None):  # what a first crawl loads is not what the second one needs
        write_links(out / "warm", [warm])
        run(FetchConfig(**defaults), out / "warm")
    before = peak_bytes()
    run(FetchConfig(**{**defaults, **options}), out, at_a_time)
    sys.stdout.write(str(peak_bytes() - before))


def peak_bytes() -> int:
    """Return the most memory that this process held; getrusage would begin with its parent's."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) << 10


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
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.1)


async def cut(writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1000\r\n\r\nhalf")
    await writer.drain()


async def nothing(writer):
    writer.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]))
