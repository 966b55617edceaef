"""The second phase: links become pages on disk, and every link gets a reason.

`out/pages/*.warc.gz` holds what was fetched, `out/pages/fetch-log.parquet` what became of each link. While
the crawl runs a journal stands in for the log; killed at any moment, the same command goes on from it and
asks again only for links without a whole record.
"""

import asyncio
import importlib.metadata
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import pyarrow.parquet as pq
from pydantic import AfterValidator

from pipeline.config import Schema, execution, identity
from pipeline.data import fetchlog, warc
from pipeline.data.addresses import AddressPolicy, endpoint
from pipeline.data.counts import PhaseCounts
from pipeline.data.crawler import Crawler, Manners
from pipeline.data.fetchlog import STORED, Journal, Row, journal_path
from pipeline.data.frontier import Frontier, build
from pipeline.data.hosts import Hosts
from pipeline.data.transport import Limits, Transport
from pipeline.data.url import UrlError, target
from pipeline.data.warc import Page, WarcFiles
from pipeline.errors import ConfigError, StageError
from pipeline.formats.publish import remove_leftovers
from pipeline.log import Progress, progress


def _endpoint(text: str) -> str:
    endpoint(text)
    return text


Endpoint = Annotated[str, AfterValidator(_endpoint)]


class FetchConfig(Schema):
    """How pages are fetched. What decides which pages are kept is identity; pace and manners are not."""

    agent: str = execution(
        "loglinear", pattern=r"^[A-Za-z_-]+$", description="the name robots.txt may address"
    )
    contact: str = execution("", description="URL or e-mail address told to every server")
    concurrency: int = execution(256, ge=1, description="links in work at the same time")
    host_connections: int = execution(2, ge=1, description="requests at the same time to one host")
    host_delay_seconds: float = execution(1.0, ge=0, description="least time between two requests to a host")
    max_crawl_delay_seconds: float = execution(30.0, ge=0, description="most that robots.txt can ask for")
    connect_seconds: float = execution(10.0, gt=0)
    first_byte_seconds: float = execution(30.0, gt=0, description="until the headers are complete")
    total_seconds: float = execution(60.0, gt=0, description="for one request")
    min_bytes_per_second: float = execution(1024.0, ge=0, description="of a body, after ten seconds")
    max_header_bytes: int = execution(32 << 10, ge=1024)
    max_body_bytes: int = identity(5 << 20, ge=1024, description="on the wire, and inflated")
    max_ratio: float = identity(100.0, ge=1, description="inflated to compressed, from 1 MiB on")
    redirects: int = identity(5, ge=0, description="followed for one link")
    ports: list[int] = identity([80, 443], description="of public servers")
    attempts: int = execution(3, ge=1, description="requests for a link whose trouble may pass")
    retry_seconds: float = execution(1.0, ge=0, description="before the second attempt; doubles each time")
    max_retry_after_seconds: float = execution(120.0, ge=0, description="a server that asks for more is left")
    breaker_failures: int = execution(10, ge=1, description="in a row, until a host is left alone")
    file_bytes: int = execution(256 << 20, ge=1024, description="size at which a WARC file is full")
    gzip_level: int = execution(2, ge=1, le=9)
    allow: list[Endpoint] = execution([], description="ADDRESS:PORT that need not be public")
    hosts: dict[str, Endpoint] = execution({}, description="host name or pattern -> ADDRESS:PORT")


def run(config: FetchConfig, out: Path) -> PhaseCounts:
    """Fetch the links of `out/links` into `out/pages`; goes on where it was killed. Counts links."""
    pages = out / "pages"
    if not (pages / "fetch-log.parquet").exists():
        fetch_share(config, out, rank=0, world_size=1)
        publish_log(out, world_size=1)
    found, size = fetchlog.reasons(pages / "fetch-log.parquet")
    total = sum(pq.ParquetFile(path).metadata.num_rows for path in (out / "links").glob("*.parquet"))
    dropped = {reason: n for reason, n in sorted(found.items()) if reason != STORED}
    return PhaseCounts(
        documents_in=total, documents_out=found[STORED], dropped=dropped, extra={"bytes": size}
    )


def fetch_share(config: FetchConfig, out: Path, *, rank: int, world_size: int) -> None:
    """Fetch the links of one worker: those whose registered domain falls to `rank` of `world_size`."""
    pages = out / "pages"
    pages.mkdir(parents=True, exist_ok=True)
    remove_leftovers(pages)
    fetchlog.recover(pages, rank)
    with _scratch(pages, rank) as scratch:
        fetchlog.write_done(journal_path(pages, rank), scratch / "done.parquet")
        path = scratch / "frontier.arrow"
        total = build(out / "links", scratch / "done.parquet", path, rank=rank, world_size=world_size)
        frontier = Frontier(path)
        policy = AddressPolicy(config.allow, config.hosts)
        _demand_contact(config, frontier, policy)
        faults: list[ExceptionGroup[OSError]] = []
        with progress("fetch", total=total, unit="links") as shown:
            shown.advance(total - len(frontier))
            try:
                asyncio.run(_crawl(config, frontier, policy, pages, rank, shown))
            except* OSError as group:
                faults.append(group)
        if faults:
            raise StageError(
                f"{pages}: {_first(faults[0])}; what was fetched is kept: make room there and run the same "
                "command again"
            )


def publish_log(out: Path, *, world_size: int) -> None:
    """Write `fetch-log.parquet` once all workers are done."""
    pages = out / "pages"
    fetchlog.publish(pages, [journal_path(pages, rank) for rank in range(world_size)])


async def _crawl(
    config: FetchConfig, frontier: Frontier, policy: AddressPolicy, pages: Path, rank: int, shown: Progress
) -> None:
    journal, tally = Journal(journal_path(pages, rank)), _Tally(shown)
    files = WarcFiles(
        pages,
        f"{rank:03d}",
        max_bytes=config.file_bytes,
        gzip_level=config.gzip_level,
        software=_software(config),
    )

    async def store(page: Page) -> None:
        # Compression alone goes to a thread: it needs no interpreter, so pages come in meanwhile. More of the
        # work there, and the two would wait for each other's turn at the interpreter.
        loop = asyncio.get_running_loop()
        member = await loop.run_in_executor(compressor, warc.member, warc.record(page), config.gzip_level)
        journal.append(fetchlog.placed(page.log, files.append(member)))
        tally.count(page.log["bytes"])

    def note(row: Row) -> None:
        journal.append(row)
        tally.count(None)

    hosts = Hosts(
        connections=config.host_connections,
        delay_seconds=config.host_delay_seconds,
        breaker_failures=config.breaker_failures,
    )
    try:
        with ThreadPoolExecutor(1, "gzip") as compressor:
            async with Transport(_limits(config), policy, _user_agent(config)) as transport:
                await Crawler(_manners(config), policy, hosts, transport, store, note).crawl(frontier)
        assert tally.links == len(frontier), f"{len(frontier) - tally.links} links ended without an outcome"
    finally:
        files.close()
        journal.close()


class _Tally:
    """The figures beside the progress bar, brought up to date once a second."""

    def __init__(self, shown: Progress):
        self._shown, self._start, self._next = shown, time.monotonic(), 0.0
        self.links = self._pages = self._bytes = self._failures = 0

    def count(self, size: int | None) -> None:
        """Count a page of so many bytes, or a failure."""
        self._shown.advance()
        self.links += 1
        self._pages += size is not None
        self._bytes += size or 0
        self._failures += size is None
        now = time.monotonic()
        if now >= self._next:
            self._next = now + 1
            seconds = max(now - self._start, 1e-3)
            rate = f"{self._pages / seconds:.0f} pages/s, {self._bytes / seconds / 1e6:.1f} MB/s"
            self._shown.note(f"{rate}, {self._failures} failures")


@contextmanager
def _scratch(pages: Path, rank: int) -> Iterator[Path]:
    """Yield an empty folder for the time of a crawl; what a killed one left there is thrown away."""
    folder = pages / f".crawl-{rank:03d}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _demand_contact(config: FetchConfig, frontier: Frontier, policy: AddressPolicy) -> None:
    """Refuse to crawl public servers for somebody whom they could not reach."""
    if _is_contact(config.contact):
        return
    for lane in frontier.lanes():
        try:
            place = target(next(frontier.links(lane)).url)
        except UrlError:
            continue
        if not policy.is_private_crawl(place.host, place.port):
            raise ConfigError(
                f"fetch.contact: {config.contact!r} is no address, and {place.host} is a public server; give "
                "the URL of a page about this crawl or an e-mail address, which every server is told"
            )


def _first(fault: Exception) -> Exception:
    """Return the first fault inside groups of faults of tasks."""
    return _first(fault.exceptions[0]) if isinstance(fault, ExceptionGroup) else fault


def _is_contact(text: str) -> bool:
    return text.startswith(("https://", "http://")) or ("@" in text.strip("@") and " " not in text)


def _software(config: FetchConfig) -> str:
    return f"{config.agent}/{importlib.metadata.version('loglinear')}"


def _user_agent(config: FetchConfig) -> str:
    return f"{_software(config)} (+{config.contact})" if config.contact else _software(config)


def _limits(config: FetchConfig) -> Limits:
    return Limits(
        connect_seconds=config.connect_seconds,
        first_byte_seconds=config.first_byte_seconds,
        total_seconds=config.total_seconds,
        min_bytes_per_second=config.min_bytes_per_second,
        header_bytes=config.max_header_bytes,
        body_bytes=config.max_body_bytes,
        ratio=config.max_ratio,
    )


def _manners(config: FetchConfig) -> Manners:
    return Manners(
        agent=config.agent,
        has_contact=_is_contact(config.contact),
        concurrency=config.concurrency,
        host_connections=config.host_connections,
        max_crawl_delay_seconds=config.max_crawl_delay_seconds,
        redirects=config.redirects,
        attempts=config.attempts,
        retry_seconds=config.retry_seconds,
        max_retry_after_seconds=config.max_retry_after_seconds,
        ports=frozenset(config.ports),
    )
