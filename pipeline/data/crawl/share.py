"""One worker's share of a crawl: from its links to WARC files and a journal."""

import asyncio
import functools
import importlib.metadata
import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline.data.crawl import fetchlog, frontier, warc
from pipeline.data.crawl.addresses import AddressPolicy
from pipeline.data.crawl.config import FetchConfig
from pipeline.data.crawl.crawler import Crawler, Manners
from pipeline.data.crawl.fetchlog import Journal, Row, journal_path
from pipeline.data.crawl.frontier import Frontier
from pipeline.data.crawl.hosts import Hosts
from pipeline.data.crawl.transport import OUT_OF_FILES, Limits, Transport
from pipeline.data.crawl.warc import Page, WarcFiles
from pipeline.data.url import UrlError, target
from pipeline.errors import ConfigError, StageError
from pipeline.log import Progress, progress


def fetch_share(config: FetchConfig, dataset: Path, *, rank: int, world_size: int) -> None:
    """Fetch the links of one worker: those whose registered domain falls to `rank` of `world_size`.

    Links that the log so far (there must be one) or the worker's own journal knows are left out. Raises
    StageError if the disk does not take what comes.
    """
    pages = dataset / "pages"
    with fetchlog.holding(pages, rank), fetchlog.scratch(pages, f"{rank:03d}") as folder:
        fetchlog.recover(pages, rank)
        done = [pages / fetchlog.PARTIAL, folder / "done.parquet"]
        fetchlog.write_done(journal_path(pages, rank), done[-1])
        path = folder / "frontier.arrow"
        total = frontier.build(dataset / "links", done, path, rank=rank, world_size=world_size)
        share = Frontier(path)
        policy = AddressPolicy(config.allow, config.hosts)
        _demand_contact(config, share, policy)
        _raise_limit_of_files()
        owns = functools.partial(frontier.owns, rank=rank, world_size=world_size)
        faults: list[ExceptionGroup[OSError]] = []
        with progress("fetch", total, "links", done=total - len(share)) as shown:
            try:
                asyncio.run(_crawl(config, share, policy, owns, _Sink(config, pages, rank, shown)))
            except* OSError as group:
                faults.append(group)
        if faults:
            raise StageError(_told(_first(faults[0]), pages))


def user_agent(config: FetchConfig) -> str:
    """Return what every server is told."""
    return f"{_software(config)} (+{config.contact})" if config.contact else _software(config)


async def _crawl(
    config: FetchConfig, share: Frontier, policy: AddressPolicy, owns: Callable[[str], bool], sink: "_Sink"
) -> None:
    hosts = Hosts(
        connections=config.host_connections,
        delay_seconds=config.host_delay_seconds,
        breaker_failures=config.breaker_failures,
        breaker_seconds=config.breaker_seconds,
    )
    # Lookups block a thread each; those of dead names take long, and others must not wait behind them.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(config.concurrency, "dns"))
    try:
        async with Transport(_limits(config), policy, user_agent(config)) as transport:
            crawler = Crawler(_manners(config), policy, hosts, transport, owns, sink.store, sink.note)
            await crawler.crawl(share)
        assert sink.links == len(share), f"{len(share) - sink.links} links ended without an outcome"
    finally:
        sink.close()


class _Sink:
    """Takes what a crawl brings: pages go to WARC files, and every link has its row in the journal."""

    def __init__(self, config: FetchConfig, pages: Path, rank: int, shown: Progress):
        self._journal = Journal(journal_path(pages, rank))
        self._files = WarcFiles(
            pages,
            f"{rank:03d}",
            max_bytes=config.file_bytes,
            gzip_level=config.gzip_level,
            software=_software(config),
        )
        self._compressor = ThreadPoolExecutor(1, "gzip")
        self._shown, self._start, self._next_note = shown, time.monotonic(), 0.0
        self.links = self._pages = self._bytes = 0

    async def store(self, page: Page) -> None:
        """Write a page, then its row."""
        # Nearly all of this is hashing and compression, which need no interpreter: pages come in meanwhile.
        loop = asyncio.get_running_loop()
        member = await loop.run_in_executor(self._compressor, _member, page, self._files.gzip_level)
        self._journal.append(fetchlog.placed(page.log, self._files.append(member)))
        self._pages += 1
        self._bytes += page.log["bytes"]
        self._count()

    def note(self, row: Row) -> None:
        """Write the row of a link that brought no page."""
        self._journal.append(row)
        self._count()

    def close(self) -> None:
        """End the files, on disk."""
        self._compressor.shutdown()
        self._files.close()
        self._journal.close()

    def _count(self) -> None:
        self._shown.advance()
        self.links += 1
        now = time.monotonic()
        if now >= self._next_note:
            self._next_note = now + 1
            seconds = max(now - self._start, 1e-3)
            rate = f"{self._pages / seconds:.0f} pages/s, {self._bytes / seconds / 1e6:.1f} MB/s"
            self._shown.note(f"{rate}, {self.links - self._pages} failures")


def _member(page: Page, gzip_level: int) -> bytes:
    return warc.member(warc.record(page), gzip_level)


def _demand_contact(config: FetchConfig, share: Frontier, policy: AddressPolicy) -> None:
    """Refuse to crawl public servers for somebody whom they could not reach."""
    if config.has_contact:
        return
    for lane in share.lanes():
        try:
            place = target(next(share.links(lane)).url)
        except UrlError:
            continue
        if not policy.is_private_crawl(place.host, place.port):
            raise ConfigError(
                f"fetch.contact: {config.contact!r} is no address, and {place.host} is a public server; give "
                "the URL of a page about this crawl or an e-mail address, which every server is told"
            )


def _told(fault: Exception, pages: Path) -> str:
    is_files = isinstance(fault, OSError) and fault.errno in OUT_OF_FILES
    remedy = "raise `ulimit -n` or lower fetch.concurrency" if is_files else "make room there"
    return f"{pages}: {fault}; what was fetched is kept: {remedy} and run the same command again"


def _raise_limit_of_files() -> None:
    """Let this process open as many files as it may: many hosts' connections are kept for what comes next."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _first(fault: Exception) -> Exception:
    """Return the first fault inside groups of faults of tasks."""
    return _first(fault.exceptions[0]) if isinstance(fault, ExceptionGroup) else fault


def _software(config: FetchConfig) -> str:
    return f"{config.agent}/{importlib.metadata.version('loglinear')}"


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
        has_contact=config.has_contact,
        concurrency=config.concurrency,
        host_connections=config.host_connections,
        max_crawl_delay_seconds=config.max_crawl_delay_seconds,
        redirects=config.redirects,
        attempts=config.attempts,
        retry_seconds=config.retry_seconds,
        max_retry_after_seconds=config.max_retry_after_seconds,
        breaker_seconds=config.breaker_seconds,
        ports=frozenset(config.ports),
    )
