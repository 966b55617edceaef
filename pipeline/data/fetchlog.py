"""What became of every link: a journal while a crawl runs, one Parquet file when it is done.

A journal line is appended after the record it speaks of is whole on disk. What a killed crawl leaves behind
is therefore: lines that are true, at most one torn line, at most one torn record, and at most one whole
record without its line, which says itself which link it answers.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypedDict, cast

import duckdb
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.url import url_hash
from pipeline.data.warc import Place, repair
from pipeline.formats.publish import publishing

STORED = "stored"
SCHEMA = pa.schema(
    [
        ("url", pa.string()),
        ("canonical_url", pa.string()),
        ("final_url", pa.string()),  # after redirects
        ("status", pa.int32()),  # of the last reply; null if none came
        ("reason", pa.string()),  # "stored", or why not
        ("content_type", pa.string()),  # identified where the page is stored, declared elsewhere
        ("bytes", pa.int64()),  # of the payload, inflated
        ("seconds", pa.float64()),  # from the first request for the link to the end of the last
        ("digest", pa.string()),  # SHA-1 of the payload, as in the WARC record
        ("attempts", pa.int32()),
        ("warc", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
    ]
)
_BATCH_ROWS = 65_536


class Row(TypedDict, total=False):
    """One line of the journal; the columns of SCHEMA, those without a value left out."""

    url: str
    canonical_url: str
    final_url: str
    status: int | None
    reason: str
    content_type: str
    bytes: int
    seconds: float
    digest: str
    attempts: int
    warc: str
    offset: int
    length: int


class Journal:
    """The append-only journal of one worker."""

    def __init__(self, path: Path):
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def append(self, row: Row) -> None:
        """Note what became of a link."""
        line = orjson.dumps(row) + b"\n"
        if os.write(self._descriptor, line) != len(line):
            raise OSError(28, "No space left on device")

    def close(self) -> None:
        """End the journal, on disk."""
        os.fsync(self._descriptor)
        os.close(self._descriptor)


def journal_path(pages: Path, rank: int) -> Path:
    """Return where a worker's journal lies while the crawl runs."""
    return pages / f"journal-{rank:03d}.jsonl"


def recover(pages: Path, rank: int) -> None:
    """Bring journal and records of a killed worker together: afterwards each speaks of the other.

    Only the newest file can hold a torn record: the others were synced before it was begun.
    """
    journal = journal_path(pages, rank)
    _cut_torn_line(journal)
    files = sorted(pages.glob(f"{rank:03d}-*.warc.gz"))
    if not files:
        return
    newest = files[-1]
    whole = {place.offset: (place, row) for place, row in repair(newest)}
    noted = {row["offset"] for row in rows(journal) if row.get("warc") == newest.name}
    if noted - set(whole):
        _forget(journal, newest.name, noted - set(whole))
    log = Journal(journal)
    for offset in sorted(set(whole) - noted):
        log.append(placed(whole[offset][1], whole[offset][0]))
    log.close()


def placed(row: Mapping[str, Any], place: Place) -> Row:
    """Return a stored page's row with the place of its record."""
    return cast(Row, {**row, "warc": place.warc, "offset": place.offset, "length": place.length})


def rows(journal: Path) -> Iterator[Row]:
    """Yield the rows of a journal, oldest first."""
    if journal.exists():
        with journal.open("rb") as lines:
            for line in lines:
                yield cast(Row, orjson.loads(line))


def write_done(journal: Path, path: Path) -> None:
    """Write the canonical URLs that need no request any more as one Parquet column."""
    schema = pa.schema([SCHEMA.field("canonical_url")])
    with pq.ParquetWriter(path, schema) as writer:
        for batch in _batches(rows(journal)):
            writer.write_table(pa.table([pa.array([row["canonical_url"] for row in batch])], schema=schema))


def publish(pages: Path, journals: Sequence[Path]) -> None:
    """Write `fetch-log.parquet`, ordered by the hash of the canonical URL, and remove the journals."""
    with publishing(pages / "fetch-log.parquet") as draft:
        unsorted = pages / "unsorted.parquet"
        _write_unsorted(journals, unsorted)
        with duckdb.connect(config={"temp_directory": str(pages / "spill")}) as database:
            relation = database.sql(
                "SELECT * EXCLUDE hash FROM read_parquet($1) ORDER BY hash, canonical_url",
                params=[str(unsorted)],
            )
            with pq.ParquetWriter(draft, SCHEMA, compression="zstd", write_page_checksum=True) as writer:
                for batch in pa.RecordBatchReader.from_stream(relation):
                    writer.write_table(
                        pa.Table.from_batches([batch]).cast(SCHEMA), row_group_size=_BATCH_ROWS
                    )
        unsorted.unlink()
    for journal in journals:
        journal.unlink()


def reasons(log: Path) -> tuple[Counter[str], int]:
    """Return how many links ended for which reason, and the bytes stored."""
    with duckdb.connect() as database:
        found = database.execute(
            "SELECT reason, count(*), coalesce(sum(bytes) FILTER (reason = ?), 0) FROM read_parquet(?) "
            "GROUP BY reason",
            [STORED, str(log)],
        ).fetchall()
    return Counter({reason: n for reason, n, _ in found}), sum(int(size) for _, _, size in found)


def _write_unsorted(journals: Sequence[Path], path: Path) -> None:
    schema = SCHEMA.append(pa.field("hash", pa.uint64()))
    with pq.ParquetWriter(path, schema) as writer:
        for batch in _batches(row for journal in journals for row in rows(journal)):
            hashed = [{**row, "hash": url_hash(row["canonical_url"])} for row in batch]
            writer.write_table(pa.Table.from_pylist(hashed, schema=schema))


def _batches(many: Iterable[Row]) -> Iterator[list[Row]]:
    iterator = iter(many)
    while batch := list(islice(iterator, _BATCH_ROWS)):
        yield batch


def _cut_torn_line(journal: Path) -> None:
    if not journal.exists() or not journal.stat().st_size:
        return
    with journal.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        tail_start = max(0, size - (1 << 20))  # no line is that long
        file.seek(tail_start)
        tail = file.read()
        file.truncate(tail_start + tail.rfind(b"\n") + 1)


def _forget(journal: Path, warc: str, offsets: set[int]) -> None:
    """Take back the lines of records that did not reach the disk (a machine that stopped, not a process)."""
    kept = [row for row in rows(journal) if not (row.get("warc") == warc and row["offset"] in offsets)]
    with publishing(journal) as draft:
        draft.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in kept))
