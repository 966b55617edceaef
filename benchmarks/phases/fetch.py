"""The crawl of a local nginx against the least loop that could replace it: aiohttp, raw bodies, warcio.

Both ask one nginx for the same pages under 1,000 host names, with as many requests at a time, one connection
to a host, one robots.txt before its pages, and write WARC records at the same gzip level. Ours alone has a
frontier, rules, limits, an address policy and a log; they are part of its time. Then a longer crawl, whose
memory is watched.

    python -m benchmarks.phases.fetch [--scale 0.1]
"""

import argparse
import asyncio
import io
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pyarrow as pa
import pyarrow.parquet as pq
from aiohttp.abc import AbstractResolver, ResolveResult
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from benchmarks.phases.ratio import Ratio, alternate
from pipeline.data import fetch
from pipeline.data.crawl.fetchlog import journal_path
from pipeline.data.execute import ExecuteConfig
from pipeline.data.phase import PhaseRun
from pipeline.data.url import url_hash

GOAL = 0.7
HOSTS, PAGES, WATCHED_PAGES = 1_000, 10_000, 50_000
MARKS = (0.2, 0.6, 1.0)  # of the watched pages: where the peak of memory is noted
PAGE_BYTES, FILES = 50_000, 100
CONCURRENCY, GZIP_LEVEL = 256, 2
_NGINX = """
daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_requests 1000000; keepalive_timeout 60; sendfile on; tcp_nopush on;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    scgi_temp_path {folder}/scgi; uwsgi_temp_path {folder}/uwsgi;
    types {{ text/html html; }}
    server {{ listen {place} backlog=4096; root {folder}; location = /robots.txt {{ return 404; }} }}
}}
"""


def measure(scale: float = 1.0) -> list[Ratio]:
    """Return our crawl against the bare loop; prints the memory of a crawl five times as long."""
    with nginx() as place, tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        urls = links(round(PAGES * scale))
        ours, peer = alternate(
            lambda: crawl(urls, out / "ours", place), lambda: loop(urls, out / "peer", place)
        )
        watched = watch(round(WATCHED_PAGES * scale), out / "watched", place)
    ratio = Ratio(
        name="fetch", ours_seconds=ours, peer_seconds=peer, goal=GOAL, note=f"peak memory {watched}"
    )
    return [ratio]


def links(number: int) -> list[str]:
    """Return so many URLs, spread over the hosts, a host's together."""
    hosts = min(HOSTS, number)
    return [
        f"http://h{host}.test/{n % FILES}.html?{n}"
        for host in range(hosts)
        for n in range(host, number, hosts)
    ]


def crawl(urls: list[str], out: Path, place: str) -> None:
    """Run our phase over the URLs into a fresh folder."""
    shutil.rmtree(out, ignore_errors=True)
    (out / "links").mkdir(parents=True)
    ordered = sorted(urls, key=url_hash)
    pq.write_table(pa.table({"url": ordered, "canonical_url": ordered}), out / "links" / "00000.parquet")
    config = fetch.FetchConfig(
        hosts={"*.test": place},
        host_connections=1,
        allow=[place],
        host_delay_seconds=0,
        concurrency=CONCURRENCY,
        gzip_level=GZIP_LEVEL,
    )
    phase = PhaseRun(name="fetch", dataset=out, source=out, work=out / "work", execute=ExecuteConfig())
    counts = fetch.run(config, phase)
    if counts.documents_out != len(urls):
        raise SystemExit(f"{counts.documents_out} of {len(urls)} pages came: {dict(counts.dropped)}")


def watch(pages: int, out: Path, place: str) -> str:
    """Run a long crawl in a process of its own; returns its peak of memory by pages fetched."""
    command = [sys.executable, "-m", "benchmarks.phases.fetch", "--crawl", str(pages), str(out), place]
    marks, peaks, done = [round(pages * mark) for mark in MARKS], [], 0
    with subprocess.Popen(command) as process:
        journal = journal_path(out / "pages", 0)
        while not journal.exists() and process.poll() is None:
            time.sleep(0.01)
        with journal.open("rb") as lines:
            while len(peaks) < len(marks) and process.poll() is None:
                done += lines.read().count(b"\n")
                if done >= marks[len(peaks)]:
                    peaks.append(f"{_peak_mib(process.pid)} MiB at {done:,}")
                time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"the watched crawl failed with exit status {process.returncode}")
    return ", ".join(peaks)


def loop(urls: list[str], out: Path, place: str) -> None:
    """Fetch the URLs with nothing but aiohttp and warcio."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    by_host: dict[str, list[str]] = {}
    for url in urls:
        by_host.setdefault(url.split("/")[2], []).append(url)
    with (out / "pages.warc.gz").open("wb", buffering=0) as file:
        asyncio.run(_loop(by_host, file, place))


async def _loop(by_host: dict[str, list[str]], file: io.FileIO, place: str) -> None:
    waiting = iter(by_host.values())

    async def work() -> None:
        for urls in waiting:
            async with session.get(urls[0].rpartition("/")[0] + "/robots.txt") as response:
                await response.read()
            for url in urls:
                async with session.get(url) as response:
                    _write(file, url, response, await response.read())

    connector = aiohttp.TCPConnector(resolver=_Everywhere(place), limit=0)
    session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
    async with session, asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(work())


def _write(file: io.FileIO, url: str, response: aiohttp.ClientResponse, body: bytes) -> None:
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.raw_headers]
    http_headers = StatusAndHeaders(f"{response.status} {response.reason}", headers, protocol="HTTP/1.1")
    plain = io.BytesIO()
    writer = WARCWriter(plain, gzip=False, warc_version="1.1")
    record = writer.create_warc_record(
        url, "response", payload=io.BytesIO(body), length=len(body), http_headers=http_headers
    )
    writer.write_record(record)
    # warcio's own gzip wrapper knows level 9 only.
    compressor = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS + 16)
    file.write(compressor.compress(plain.getbuffer()) + compressor.flush())


class _Everywhere(AbstractResolver):
    """Every name is the one server."""

    def __init__(self, place: str):
        self._host, _, self._port = place.rpartition(":")

    async def resolve(self, host: str, *_: Any, **__: Any) -> list[ResolveResult]:
        row = {"hostname": host, "port": int(self._port), "family": socket.AF_INET, "proto": 0, "flags": 0}
        return [ResolveResult(host=self._host, **row)]

    async def close(self) -> None:
        pass


@contextmanager
def nginx() -> Iterator[str]:
    """Yield the address of an nginx of our own; SystemExit tells how to install it."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        raise SystemExit("this benchmark needs nginx: apt-get install nginx-light")
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{probe.getsockname()[1]}"
        probe.close()
        Path(folder).chmod(0o755)
        for number in range(FILES):
            (Path(folder) / f"{number}.html").write_text(_page(number))
        configuration = Path(folder) / "nginx.conf"
        configuration.write_text(_NGINX.format(folder=folder, place=place))
        with subprocess.Popen([program, "-c", configuration, "-e", f"{folder}/error.log"]) as process:
            try:
                _await(place, process)
                yield place
            finally:
                process.terminate()


def _page(seed: int) -> str:
    """Return a page whose text compresses about as well as prose."""
    choice = random.Random(seed)
    words = ["".join(choice.choices("etaoinshrdlucmfwyp", k=choice.randint(2, 9))) for _ in range(3_000)]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    text = " ".join(choice.choices(words, weights, k=PAGE_BYTES // 4))
    return f"<!doctype html><html><body><p>{text}"[: PAGE_BYTES - 18] + "</p></body></html>"


def _await(place: str, process: subprocess.Popen[bytes]) -> None:
    host, _, port = place.rpartition(":")
    for _ in range(500):
        if process.poll() is not None:
            raise SystemExit(f"nginx ended with exit status {process.returncode}")
        try:
            socket.create_connection((host, int(port)), 1).close()
            return
        except OSError:
            time.sleep(0.01)
    raise SystemExit(f"nginx does not answer on {place}")


def _peak_mib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--scale", type=float, default=1.0)
    arguments.add_argument("--crawl", nargs=3, help=argparse.SUPPRESS)  # the watched process
    chosen = arguments.parse_args()
    if chosen.crawl:
        crawl(links(int(chosen.crawl[0])), Path(chosen.crawl[1]), chosen.crawl[2])
    else:
        for row in measure(chosen.scale):
            print(row)
