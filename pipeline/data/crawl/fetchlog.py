"""What became of every link: a journal of each worker while it runs, one Parquet file for all of them.

A journal line is appended after the record it speaks of is whole on disk. What a killed crawl leaves behind
is therefore: lines that are true, at most one torn line, at most one torn record, and at most one whole
record without its line, which says itself which link it answers. Journals are folded into the log so far
(`partial-log.parquet`), which takes the log's name once no link is left.
"""

import os
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypedDict, cast

import duckdb
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.crawl.warc import Place, repair
from pipeline.data.url import url_hash
from pipeline.formats.lock import sole_writer
from pipeline.formats.publish import publishing

NAME = "fetch-log.parquet"
PARTIAL = "partial-log.parquet"
COMMONCRAWL = "commoncrawl-log.parquet"  # of the links that Common Crawl had, in the same columns
STORED = "stored"
ELSEWHERE = "elsewhere"  # a redirect led to another worker's host; followed when the workers are done
LIVE = "live"
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
        ("source", pa.string()),  # "live" or "commoncrawl"
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
    source: str


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


def ranks(pages: Path) -> list[int]:
    """Return which workers have left a journal."""
    return sorted(int(path.stem.removeprefix("journal-")) for path in _journals(pages))


def holding(pages: Path, rank: int) -> AbstractContextManager[None]:
    """Hold a worker's journal and files; StageError if another process keeps them."""
    refusal = f"{journal_path(pages, rank)}: still written by another process; wait for it or stop it"
    return sole_writer(pages / ".locks" / f"{rank:03d}", refusal)


@contextmanager
def scratch(pages: Path, name: str) -> Iterator[Path]:
    """Yield an empty folder for a while; what a killed process left there is thrown away."""
    folder = pages / f".crawl-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def recover(pages: Path, rank: int) -> None:
    """Bring journal and records of a killed worker together."""
    files = sorted(pages.glob(f"{rank:03d}-*.warc.gz"))
    recover_journal(journal_path(pages, rank), files, _logged(pages, files[-1].name) if files else ())


def recover_journal(journal: Path, files: Sequence[Path], folded: Collection[int] = ()) -> None:
    """Bring a journal and the files it speaks of together: afterwards each speaks of the other.

    Only the newest file can hold a torn record: the others were synced before it was begun. `folded` are the
    offsets of its records that another log knows.
    """
    _cut_torn_line(journal)
    if not files:
        return
    newest = files[-1]
    whole = {place.offset: (place, row) for place, row in repair(newest)}
    noted = {row["offset"] for row in rows(journal) if row.get("warc") == newest.name}
    if noted - set(whole):
        _forget(journal, newest.name, noted - set(whole))
    log = Journal(journal)
    for offset in sorted(set(whole) - noted - set(folded)):
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
    """Write the canonical URLs of a journal as one Parquet column."""
    schema = pa.schema([SCHEMA.field("canonical_url")])
    with pq.ParquetWriter(path, schema) as writer:
        for batch in _batches(rows(journal)):
            writer.write_table(pa.table([pa.array([row["canonical_url"] for row in batch])], schema=schema))


def fold(pages: Path, again: Collection[str] = ()) -> Counter[str]:
    """Bring all that is known into the log so far, and remove the journals; returns the links by reason.

    Left out, so that they are fetched again: links that ended for one of the reasons `again`, and those
    whose WARC file is gone.
    """
    journals = _journals(pages)
    logs = [path for name in (PARTIAL, COMMONCRAWL) if (path := pages / name).exists()]
    files = {path.name for path in pages.glob("*.warc.gz")}
    found: Counter[str] = Counter()

    def kept() -> Iterator[Row]:
        for row in chain(*map(_log_rows, logs), *map(rows, journals)):
            if row["reason"] not in again and (not row.get("warc") or row["warc"] in files):
                found[row["reason"]] += 1
                yield row

    write_log(pages / PARTIAL, kept())
    for journal in journals:
        journal.unlink()
    return found


def write_log(path: Path, many: Iterable[Row]) -> None:
    """Write a log, in the order of the links."""
    with publishing(path) as draft, scratch(path.parent, "log") as folder:
        _write_unsorted(many, folder / "unsorted.parquet")
        _write_sorted(folder / "unsorted.parquet", draft)


def publish(pages: Path) -> None:
    """Give the log so far its name: no link is left."""
    (pages / PARTIAL).rename(pages / NAME)
    shutil.rmtree(pages / ".locks", ignore_errors=True)


def reopen(pages: Path) -> None:
    """Make a finished log, if there is one, the log so far."""
    if (pages / NAME).exists():
        (pages / NAME).rename(pages / PARTIAL)


def is_whole(pages: Path, again: Collection[str]) -> bool:
    """Tell whether there is a finished log, and all its files, without links of the reasons `again`."""
    if not (pages / NAME).exists():
        return False
    with duckdb.connect() as database:
        found = database.execute(
            "SELECT DISTINCT reason, warc FROM read_parquet(?)", [str(pages / NAME)]
        ).fetchall()
    files = {warc for _, warc in found if warc}
    return not {reason for reason, _ in found} & set(again) and all((pages / name).exists() for name in files)


def gaps(pages: Path, links: Path) -> tuple[int, int]:
    """Return how many links the finished log does not know, and how many of its pages are of no link."""
    [(unknown, strange)] = _asked(
        pages,
        "SELECT count(*) FILTER (reason IS NULL), count(*) FILTER (link.url IS NULL AND reason = $stored) "
        "FROM read_parquet($links) AS link FULL JOIN read_parquet($log) AS entry USING (canonical_url)",
        {"links": str(links / "*.parquet"), "log": str(pages / NAME), "stored": STORED},
    )
    return unknown, strange


def account(pages: Path, links: Path) -> tuple[Counter[str], int]:
    """Return how many links ended for which reason, and the bytes stored."""
    found = _asked(
        pages,
        "SELECT reason, count(*), coalesce(sum(bytes) FILTER (reason = $stored), 0) FROM read_parquet($log) "
        "AS entry SEMI JOIN read_parquet($links) AS link USING (canonical_url) GROUP BY reason",
        {"links": str(links / "*.parquet"), "log": str(pages / NAME), "stored": STORED},
    )
    return Counter({reason: n for reason, n, _ in found}), sum(int(size) for _, _, size in found)


def _asked(pages: Path, query: str, values: Mapping[str, str]) -> list[Any]:
    with (
        scratch(pages, "query") as folder,
        duckdb.connect(config={"temp_directory": str(folder)}) as database,
    ):
        return list(database.execute(query, values).fetchall())


def _journals(pages: Path) -> list[Path]:
    return sorted(pages.glob("journal-*.jsonl"))


def _log_rows(log: Path) -> Iterator[Row]:
    file = pq.ParquetFile(log, page_checksum_verification=True)
    for batch in file.iter_batches(_BATCH_ROWS):
        yield from cast(list[Row], batch.to_pylist())


def _logged(pages: Path, warc: str) -> set[int]:
    """Return the offsets of a file's records that the log so far knows."""
    if not (pages / PARTIAL).exists():
        return set()
    with duckdb.connect() as database:
        query = 'SELECT "offset" FROM read_parquet(?) WHERE warc = ?'
        return {offset for (offset,) in database.execute(query, [str(pages / PARTIAL), warc]).fetchall()}


def _write_unsorted(many: Iterable[Row], path: Path) -> None:
    schema = SCHEMA.append(pa.field("hash", pa.uint64()))
    with pq.ParquetWriter(path, schema) as writer:
        for batch in _batches(many):
            hashed = [{"source": LIVE, **row, "hash": url_hash(row["canonical_url"])} for row in batch]
            writer.write_table(pa.Table.from_pylist(hashed, schema=schema))


def _write_sorted(unsorted: Path, path: Path) -> None:
    """Write rows by the hash of their canonical URL, each link once: what was folded before a crash comes
    twice.
    """
    with duckdb.connect(config={"temp_directory": str(unsorted.parent / "spill")}) as database:
        relation = database.sql(
            "SELECT DISTINCT ON (hash, canonical_url) * EXCLUDE hash FROM read_parquet($1) "
            "ORDER BY hash, canonical_url, reason <> $2",
            params=[str(unsorted), STORED],
        )
        with pq.ParquetWriter(path, SCHEMA, compression="zstd", write_page_checksum=True) as writer:
            for batch in pa.RecordBatchReader.from_stream(relation):
                writer.write_table(pa.Table.from_batches([batch]).cast(SCHEMA), row_group_size=_BATCH_ROWS)


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
