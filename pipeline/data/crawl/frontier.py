"""The links still to fetch, one lane per host: on disk, in an order in which nothing waits without need.

Hosts with most links come first, because a polite crawl takes as long as its largest host; a lane's links lie
together, so a host's connections and robots.txt are used while they are fresh. The file is memory-mapped: the
frontier of 45 million links takes no memory to speak of.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.url import registered_domain, url_hash

_SCHEMA = pa.schema(
    [("url", pa.string()), ("canonical_url", pa.string()), ("host", pa.string()), ("hash", pa.uint64())]
)
_BATCH_ROWS = 65_536
_LINKS_AT_ONCE = 256
_BATCHES_OPEN = 256  # views into the memory map, not copies


class Link(NamedTuple):
    """One link to fetch."""

    url: str
    canonical_url: str


@dataclass(frozen=True, slots=True)
class Lane:
    """All links of one host: `count` rows of the frontier from `start`."""

    host: str
    start: int
    count: int


class Frontier:
    """The links of one worker that are still to be fetched."""

    def __init__(self, path: Path):
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        self._batch = lru_cache(_BATCHES_OPEN)(reader.get_batch)
        counts = [self._batch(number).num_rows for number in range(reader.num_record_batches)]
        self._starts = [sum(counts[:index]) for index in range(len(counts))]
        self._total: int = sum(counts)

    def __len__(self) -> int:
        return self._total

    def lanes(self) -> Iterator[Lane]:
        """Yield the hosts, the one with most links first."""
        start = 0
        while start < self._total:
            batch, offset = self._at(start)
            lane = Lane(batch["host"][offset].as_py(), start, batch["links"][offset].as_py())
            yield lane
            start += lane.count

    def links(self, lane: Lane) -> Iterator[Link]:
        """Yield the links of a host, by the hash of their canonical URL."""
        index, end = lane.start, lane.start + lane.count
        while index < end:
            batch, offset = self._at(index)
            rows = batch.slice(offset, min(end - index, _LINKS_AT_ONCE))
            yield from map(Link, rows["url"].to_pylist(), rows["canonical_url"].to_pylist())
            index += rows.num_rows

    def _at(self, index: int) -> tuple[pa.RecordBatch, int]:
        """Return the batch that holds a row, and the row's place in it."""
        number = bisect_right(self._starts, index) - 1
        return self._batch(number), index - self._starts[number]


def build(links: Path, done: Sequence[Path], path: Path, *, rank: int, world_size: int) -> int:
    """Write the frontier of one worker to `path`; returns how many links it has, done ones included."""
    scratch = path.with_suffix(".unsorted")
    total = _write_share(links, scratch, rank, world_size)
    with duckdb.connect(config={"temp_directory": str(path.parent / "spill")}) as database:
        relation = database.sql(
            "SELECT url, canonical_url, host, count(*) OVER (PARTITION BY host) AS links "
            "FROM read_parquet($1) AS link WHERE NOT EXISTS (FROM read_parquet($2) AS done "
            "WHERE done.canonical_url = link.canonical_url) ORDER BY links DESC, host, hash",
            params=[str(scratch), [str(each) for each in done]],
        )
        reader = pa.RecordBatchReader.from_stream(relation)
        with pa.ipc.new_file(str(path), reader.schema) as writer:
            for batch in reader:
                writer.write_batch(batch)
    scratch.unlink()
    return total


def owns(host: str, *, rank: int, world_size: int) -> bool:
    """Tell whether a host falls to a worker: all hosts of a registered domain go to the same one."""
    if world_size == 1:
        return True
    domain = registered_domain(host).encode()
    return int.from_bytes(blake2b(domain, digest_size=8).digest(), "big") % world_size == rank


def _write_share(links: Path, scratch: Path, rank: int, world_size: int) -> int:
    """Write this worker's links with their hosts; a host's worker is worked out once per batch."""
    total = 0
    with pq.ParquetWriter(scratch, _SCHEMA, compression="lz4") as writer:
        for path in sorted(links.glob("*.parquet")):
            file = pq.ParquetFile(path, page_checksum_verification=True)
            for batch in file.iter_batches(_BATCH_ROWS, columns=["url", "canonical_url"]):
                urls, keys = (batch[name].to_pylist() for name in ("url", "canonical_url"))
                hosts = [_host(key) for key in keys]
                ours = {host for host in set(hosts) if owns(host, rank=rank, world_size=world_size)}
                rows = [
                    {"url": url, "canonical_url": key, "host": host, "hash": url_hash(key)}
                    for url, key, host in zip(urls, keys, hosts, strict=True)
                    if host in ours
                ]
                total += len(rows)
                writer.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA))
    return total


def _host(canonical_url: str) -> str:
    """Return the host of a canonical URL, as politeness knows it: without its port."""
    authority = canonical_url.partition("://")[2].partition("/")[0]
    host, colon, port = authority.rpartition(":")
    return (host if colon and port.isdecimal() else authority).strip("[]")
