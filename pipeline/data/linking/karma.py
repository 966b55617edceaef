"""What the rows of one page add up to: sorted parts aggregated by duckdb.

That is done a slice of the hash range at a time. Memory depends on the slice, which follows from
`memory_limit`, and not on how many links there are.
"""

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.url import surt
from pipeline.errors import StageError

SCHEMA = pa.schema(
    [
        ("url", pa.string()),  # as submitted: the form with most karma
        ("canonical_url", pa.string()),
        ("surt", pa.string()),
        ("karma_sum", pa.int64()),
        ("karma_max", pa.int64()),
        ("submissions", pa.int64()),  # 0, like the karma, of a link that was only listed
        ("first_seen", pa.timestamp("ms", "UTC")),  # null where nobody wrote it down
        ("subreddits", pa.list_(pa.string())),
    ]
)
_ROW_BYTES = 1024  # of a link in duckdb's aggregation, generously
_FILE_ROWS = 4_000_000
_BATCH_ROWS = 65_536


def aggregate(
    parts: Path, out: Path, *, karma: str, min_karma: int, memory_limit: str, threads: int
) -> Counter[str]:
    """Write `out/NNNNN.parquet` from `parts/*.parquet` (rows of `linkparts.SCHEMA`), by hash.

    A link is kept if its `karma_KARMA` is at least `min_karma`, or if it was listed. Returns how many `links`
    are kept, of how many `rows`, and how many rows are of links `below` the rule. The files do not depend on
    `memory_limit` and `threads`. Raises StageError if the memory does not suffice.
    """
    rule = f"(listed OR karma_{karma} >= {min_karma})"
    rows = sum(pq.ParquetFile(path).metadata.num_rows for path in parts.glob("*.parquet"))
    files = _power_of_two(rows / _FILE_ROWS)
    slices = max(files, _power_of_two(rows * _ROW_BYTES / size_of(memory_limit)))
    settings = {"memory_limit": memory_limit, "temp_directory": str(parts / "spill"), "threads": threads}
    totals: Counter[str] = Counter()
    try:
        with duckdb.connect(config=settings) as database:
            database.execute("SET enable_progress_bar = false")  # it would go to stdout
            for file in range(files):
                with _writing(out / f"{file:05d}.parquet") as writer:
                    for index in range(file * slices // files, (file + 1) * slices // files):
                        _group(database, parts, (index << 64) // slices, ((index + 1) << 64) // slices - 1)
                        totals += _count(database, rule)
                        _write(_kept(database, rule), writer)
    except duckdb.OutOfMemoryException as fault:
        raise StageError(
            f"links: {memory_limit} of memory are too little ({fault}); raise links.memory_limit"
        ) from None
    return totals


def size_of(text: str) -> int:
    """Return the bytes of a size as duckdb writes it: `1GB`, `512 MiB`."""
    number, unit = text[:-2].rstrip(" KMGTi"), text.strip("0123456789. ")
    return int(float(number) * (1024 if "i" in unit else 1000) ** " KMGT".index(unit[0]))


def _group(database: Any, parts: Path, low: int, high: int) -> None:
    """Make the table `links` of the canonical URLs whose hash lies in [low, high]."""
    database.execute(
        """
        CREATE OR REPLACE TEMP TABLE links AS
        SELECT hash, canonical_url,
               max({'karma': karma_max, 'earlier': -first_seen, 'url': url}).url AS url,
               sum(karma_sum)::BIGINT AS karma_sum,
               coalesce(max(karma_max) FILTER (submissions > 0), 0) AS karma_max,
               sum(submissions)::BIGINT AS submissions, min(first_seen) AS first_seen,
               string_agg(subreddits, ',') FILTER (subreddits <> '') AS subreddits,
               bool_or(submissions = 0) AS listed, count(*) AS rows
        FROM read_parquet(?) WHERE hash BETWEEN ?::UBIGINT AND ?::UBIGINT
        GROUP BY hash, canonical_url
        """,
        [str(parts / "*.parquet"), low, high],
    )


def _count(database: Any, rule: str) -> Counter[str]:
    links, rows, below = database.execute(
        f"SELECT count(*) FILTER {rule}, sum(rows) FILTER {rule}, sum(rows) FILTER (NOT {rule}) FROM links"
    ).fetchall()[0]
    return Counter(links=links, rows=int(rows or 0), below=int(below or 0))


def _kept(database: Any, rule: str) -> Iterator[pa.RecordBatch]:
    relation = database.sql(
        "SELECT url, canonical_url, karma_sum, karma_max, submissions, first_seen, "
        "list_sort(list_distinct(coalesce(string_split(subreddits, ','), []))) AS subreddits "
        f"FROM links WHERE {rule} ORDER BY hash, canonical_url"
    )
    yield from pa.RecordBatchReader.from_stream(relation)


def _writing(path: Path) -> Any:
    return pq.ParquetWriter(path, SCHEMA, compression="zstd", write_page_checksum=True)


def _write(batches: Iterator[pa.RecordBatch], writer: Any) -> None:
    for batch in batches:
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        keys = [surt(url) for url in columns["canonical_url"].to_pylist()]
        columns["surt"] = pa.array(keys, pa.string())
        columns["first_seen"] = columns["first_seen"].cast(pa.timestamp("s", "UTC"))
        arrays = [columns[field.name].cast(field.type) for field in SCHEMA]
        writer.write_table(pa.table(arrays, schema=SCHEMA), row_group_size=_BATCH_ROWS)


def _power_of_two(least: float) -> int:
    return 1 << max(0, math.ceil(least) - 1).bit_length()
