"""Records copied out of Common Crawl's archive, side by side, each checked before it is stored."""

import asyncio
import importlib.metadata
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq

from pipeline.data.archive.config import WEB, CommonCrawlConfig
from pipeline.data.archive.index import database, rows
from pipeline.data.archive.ranges import FolderRanges, HttpRanges, RangeError, Ranges
from pipeline.data.archive.records import Capture, checked
from pipeline.data.crawl import fetchlog, warc
from pipeline.data.crawl.addresses import AddressPolicy
from pipeline.data.crawl.fetchlog import Journal, Row
from pipeline.data.crawl.warc import WarcFiles
from pipeline.data.stored.responses import NoPageError
from pipeline.errors import StageError
from pipeline.log import Progress, progress

_COLUMNS = ", ".join(Capture.__dataclass_fields__)
_MOST_FAILURES = 100  # in a row: then it is not this or that record, but the server, or another archive


def copy(config: CommonCrawlConfig, pages: Path, chosen: Path, done: Path, journal: Path) -> None:
    """Copy the records of the chosen captures whose links are not done."""
    faults: list[ExceptionGroup[Exception]] = []
    with database(done.parent, config.memory_limit) as connection:
        captures = connection.sql(
            f"SELECT {_COLUMNS} FROM read_parquet($1) AS capture WHERE NOT EXISTS (FROM read_parquet($2) AS "
            "done WHERE done.canonical_url = capture.canonical_url) "
            "ORDER BY warc_filename, warc_record_offset, canonical_url",
            params=[str(chosen), str(done)],
        )
        total = pq.ParquetFile(chosen).metadata.num_rows
        with progress("commoncrawl", total, "records", pq.ParquetFile(done).metadata.num_rows) as shown:
            try:
                asyncio.run(
                    _Copier(config, pages, journal, shown).run(Capture(**row) for row in rows(captures))
                )
            except* (StageError, OSError) as group:
                faults.append(group)
    if faults:
        fault = _first(faults[0])
        if isinstance(fault, StageError):
            raise fault
        raise StageError(
            f"{pages}: {fault}; what was copied is kept: make room there and run the same command again"
        )


class _Copier:
    """Records on their way from the archive to the disk."""

    def __init__(self, config: CommonCrawlConfig, pages: Path, journal: Path, shown: Progress):
        self._config, self._shown = config, shown
        self._journal = Journal(journal)
        self._files = WarcFiles(
            pages,
            "cc",
            max_bytes=config.file_bytes,
            gzip_level=config.gzip_level,
            software=_software(),
        )
        self._failures: list[Row] = []  # since the last record that could be read
        self._start, self._bytes = time.monotonic(), 0

    async def run(self, captures: Iterator[Capture]) -> None:
        """Copy all of them."""
        try:
            with ThreadPoolExecutor(1, "record") as self._thread:
                async with _archive(self._config) as self._ranges, asyncio.TaskGroup() as group:
                    for _ in range(self._config.connections):
                        group.create_task(self._work(captures))
            self._note_failures()
        finally:
            self._files.close()
            self._journal.close()

    async def _work(self, captures: Iterator[Capture]) -> None:
        for capture in captures:
            await self._take(capture)
            self._shown.advance()

    async def _take(self, capture: Capture) -> None:
        start = time.monotonic()
        try:
            data = await self._ranges.read(
                capture.warc_filename, capture.warc_record_offset, capture.warc_record_length
            )
            loop, seconds = asyncio.get_running_loop(), time.monotonic() - start
            row, member = await loop.run_in_executor(self._thread, self._member, data, capture, seconds)
        except (RangeError, NoPageError) as fault:
            self._fail(
                Row(**capture.row, reason=fault.reason, seconds=round(time.monotonic() - start, 3)), fault
            )
            return
        self._note_failures()
        self._journal.append(fetchlog.placed(row, self._files.append(member)))
        self._bytes += len(data)
        rate = self._bytes / max(time.monotonic() - self._start, 1e-3) / 1e6
        self._shown.note(f"{rate:.1f} MB/s")

    def _member(self, data: bytes, capture: Capture, seconds: float) -> tuple[Row, bytes]:
        row, record = checked(data, capture, seconds)
        return row, warc.member(record, self._config.gzip_level)

    def _fail(self, row: Row, fault: Exception) -> None:
        """Keep a failure until something succeeds: if all fail, the fault lies elsewhere."""
        self._failures.append(row)
        if len(self._failures) >= _MOST_FAILURES:
            raise StageError(
                f"{self._config.files}: {_MOST_FAILURES} records in a row could not be read, the last one "
                f"because of {row['reason']} ({fault}); is this the archive of commoncrawl.index? What was "
                "copied is kept: run the same command again"
            )

    def _note_failures(self) -> None:
        for row in self._failures:
            self._journal.append(row)
        self._failures.clear()


def http_ranges(config: CommonCrawlConfig, base: str = "") -> HttpRanges:
    """Return the web servers that the configuration allows, and names itself to."""
    return HttpRanges(
        AddressPolicy(config.allow),
        f"{_software()} (+{config.contact})" if config.contact else _software(),
        base=base,
        connections=config.connections,
        attempts=config.attempts,
        spacing_seconds=config.spacing_seconds,
        total_seconds=config.total_seconds,
    )


def _archive(config: CommonCrawlConfig) -> Ranges:
    if config.files.startswith(WEB):
        return http_ranges(config, f"{config.files.rstrip('/')}/")
    return FolderRanges(Path(config.files))


def _software() -> str:
    return f"loglinear/{importlib.metadata.version('loglinear')}"


def _first(fault: Exception) -> Exception:
    """Return the first fault inside groups of faults of tasks."""
    return _first(fault.exceptions[0]) if isinstance(fault, ExceptionGroup) else fault
