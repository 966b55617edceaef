"""The first phase: submissions with votes become a list of links worth fetching.

Dumps are read once into sorted parts, then aggregated by duckdb a slice of the hash range at a time, so that
memory depends on the slice and not on how many links there are. What a page's submissions add up to is kept
beside its URL: later phases choose among duplicates by it.
"""

import glob
import multiprocessing
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any, Literal

import duckdb
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import Schema, execution, identity
from pipeline.data.blocklists import read_blocklists
from pipeline.data.counts import PhaseCounts
from pipeline.data.submissions import FileReport, Links, Rules, read_links
from pipeline.data.url import surt, url_hash
from pipeline.errors import ConfigError
from pipeline.formats.publish import publishing, remove_leftovers
from pipeline.log import progress

SCHEMA = pa.schema(
    [
        ("url", pa.string()),  # as submitted: the form with most karma
        ("canonical_url", pa.string()),
        ("surt", pa.string()),
        ("karma_sum", pa.int64()),
        ("karma_max", pa.int64()),
        ("submissions", pa.int64()),
        ("first_seen", pa.timestamp("ms", "UTC")),
        ("subreddits", pa.list_(pa.string())),
    ]
)
_PART_SCHEMA = pa.schema(
    [
        ("hash", pa.uint64()),
        ("url", pa.string()),
        ("canonical_url", pa.string()),
        ("score", pa.int64()),
        ("created", pa.int64()),
        ("subreddit", pa.string()),
    ]
)
_PART_ROWS = 500_000
_SLICE_ROWS = 4_000_000
_BATCH_ROWS = 65_536


class LinksConfig(Schema):
    """Where submissions come from and which links are kept."""

    inputs: list[str] = identity(min_length=1, description="submissions dumps; paths or glob patterns")
    min_karma: int = identity(3, description="least karma of a link")
    karma: Literal["max", "sum"] = identity("max", description="of one submission, or of all submissions")
    drop_self: bool = identity(True, description="leave out self posts")
    drop_over_18: bool = identity(False, description="leave out submissions marked as for adults")
    drop_subreddits: list[str] = identity([], description="leave out submissions to these")
    since: date | None = identity(None, description="first day (UTC) of submissions")
    until: date | None = identity(None, description="first day (UTC) that is too late")
    blocklists: list[Path] = identity(
        [Path("configs/data/blocklists/default.yaml")],
        description="YAML lists of domains, extensions, patterns",
    )
    workers: int = execution(1, ge=1, description="processes that read dump files side by side")
    memory_limit: str = execution("1GB", pattern=r"^\d+(\.\d+)? ?[KMGT]i?B$", description="duckdb's memory")


def input_files(config: LinksConfig) -> list[Path]:
    """Return the dump files, sorted; ConfigError names every pattern without a file."""
    found = {pattern: _matching(pattern) for pattern in config.inputs}
    problems = [
        f"links.inputs: {name}: no such file; give the path of a dump" for name in found if not found[name]
    ]
    if problems:
        raise ConfigError(problems)
    return sorted({path for paths in found.values() for path in paths})


def run(config: LinksConfig, out: Path) -> PhaseCounts:
    """Write `out/links/*.parquet` (ordered by the hash of the canonical URL) and, if any, `malformed.jsonl`.

    Counts lines: each is a link kept, or dropped under a reason (`repeat`: a kept link's other submission).
    """
    files = input_files(config)
    read_blocklists(config.blocklists)  # faults before work
    remove_leftovers(out)
    shutil.rmtree(out / "links", ignore_errors=True)  # whoever calls wants it made anew
    with publishing(out / "links") as draft:
        parts = draft / "parts"
        parts.mkdir(parents=True)
        reports = _read_files(files, config, parts)
        _write_malformed(reports, draft / "malformed.jsonl")
        totals = _aggregate(config, parts, draft)
        shutil.rmtree(parts)
    return _counts(reports, totals)


def _matching(pattern: str) -> list[Path]:
    if Path(pattern).is_file():
        return [Path(pattern)]  # also where its name has characters that mean something in a pattern
    return [Path(name) for name in glob.glob(pattern)]  # noqa: PTH207 - patterns may be absolute


def _read_files(files: Sequence[Path], config: LinksConfig, parts: Path) -> list[FileReport]:
    total = sum(path.stat().st_size for path in files)
    with progress("links", total=total / 1e6, unit="MB") as shown:
        if config.workers == 1 or len(files) == 1:
            return [
                _read_file(path, config, parts, n, lambda size: shown.advance(size / 1e6))
                for n, path in enumerate(files)
            ]
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(config.workers, len(files)), mp_context=context) as pool:
            jobs = {pool.submit(_read_file, path, config, parts, n): path for n, path in enumerate(files)}
            for job in as_completed(jobs):
                job.result()
                shown.advance(jobs[job].stat().st_size / 1e6)
            return [job.result() for job in jobs]


def _read_file(
    path: Path, config: LinksConfig, parts: Path, number: int, advance: Callable[[int], None] = lambda _: None
) -> FileReport:
    """Read one dump into `parts/NUMBER.parquet`."""
    report = FileReport(str(path))
    batches = read_links(path, _rules(config), report, _PART_ROWS, advance)
    with pq.ParquetWriter(parts / f"{number:05d}.parquet", _PART_SCHEMA, compression="lz4") as writer:
        for links in batches:
            # Small row groups of sorted rows: a slice of the hash range reads few of them.
            writer.write_table(_part(links), row_group_size=1 << 14)
    return report


def _rules(config: LinksConfig) -> Rules:
    return Rules(
        drop_self=config.drop_self,
        drop_over_18=config.drop_over_18,
        drop_subreddits=frozenset(name.lower() for name in config.drop_subreddits),
        since=_seconds(config.since) if config.since else 0,
        until=_seconds(config.until) if config.until else 1 << 62,
        blocked=read_blocklists(config.blocklists),
    )


def _seconds(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())


def _part(links: Links) -> pa.Table:
    hashes = [url_hash(url) for url in links.canonical_url]
    columns = [hashes, links.url, links.canonical_url, links.score, links.created, links.subreddit]
    arrays = [
        pa.array(column, field.type, from_pandas=False)
        for column, field in zip(columns, _PART_SCHEMA, strict=True)
    ]
    return pa.table(arrays, schema=_PART_SCHEMA).sort_by("hash")


def _aggregate(config: LinksConfig, parts: Path, draft: Path) -> Counter[str]:
    """Write the links of each slice of the hash range; returns links, their rows, rows below the rule."""
    totals: Counter[str] = Counter()
    rows = sum(pq.ParquetFile(path).metadata.num_rows for path in parts.glob("*.parquet"))
    slices = 1 << max(0, (rows - 1) // _SLICE_ROWS).bit_length()
    settings = {"memory_limit": config.memory_limit, "temp_directory": str(draft / "parts" / "spill")}
    with duckdb.connect(config=settings) as database:
        for index in range(slices):
            low, high = index << 64, (index + 1) << 64
            _group(database, parts, low // slices, high // slices - 1)
            totals += _count_slice(database, config)
            _write_slice(_kept_rows(database, config), draft / f"{index:05d}.parquet")
    return totals


def _group(database: Any, parts: Path, low: int, high: int) -> None:
    """Make the table `links` of the canonical URLs whose hash lies in [low, high]."""
    database.execute(
        """
        CREATE OR REPLACE TEMP TABLE links AS
        SELECT hash, canonical_url,
               max({'score': score, 'earlier': -created, 'url': url}).url AS url,
               sum(score)::BIGINT AS karma_sum, max(score) AS karma_max, count(*) AS submissions,
               min(created) AS first_seen,
               list_sort(list_distinct(list(subreddit) FILTER (subreddit <> ''))) AS subreddits
        FROM read_parquet(?) WHERE hash BETWEEN ?::UBIGINT AND ?::UBIGINT
        GROUP BY hash, canonical_url
        """,
        [str(parts / "*.parquet"), low, high],
    )


def _count_slice(database: Any, config: LinksConfig) -> Counter[str]:
    enough = f"karma_{config.karma} >= {config.min_karma}"
    links, rows, below = database.execute(
        f"SELECT count(*) FILTER ({enough}), sum(submissions) FILTER ({enough}), "
        f"sum(submissions) FILTER (NOT {enough}) FROM links"
    ).fetchall()[0]
    return Counter(links=int(links or 0), rows=int(rows or 0), below_karma=int(below or 0))


def _kept_rows(database: Any, config: LinksConfig) -> Iterator[pa.RecordBatch]:
    relation = database.sql(
        "SELECT url, canonical_url, karma_sum, karma_max, submissions, first_seen, "
        "coalesce(subreddits, []) AS subreddits FROM links "
        f"WHERE karma_{config.karma} >= {config.min_karma} ORDER BY hash, canonical_url"
    )
    yield from pa.RecordBatchReader.from_stream(relation)


def _write_slice(batches: Iterator[pa.RecordBatch], path: Path) -> None:
    with pq.ParquetWriter(path, SCHEMA, compression="zstd", write_page_checksum=True) as writer:
        for batch in batches:
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            columns["surt"] = pa.array(
                [surt(url) for url in columns["canonical_url"].to_pylist()], pa.string()
            )
            columns["first_seen"] = pa.array(
                [seconds * 1000 for seconds in columns["first_seen"].to_pylist()],
                SCHEMA.field("first_seen").type,
            )
            arrays = [columns[field.name].cast(field.type) for field in SCHEMA]
            writer.write_table(pa.table(arrays, schema=SCHEMA), row_group_size=_BATCH_ROWS)


def _write_malformed(reports: Sequence[FileReport], path: Path) -> None:
    rows = [row for report in reports for row in report.malformed]
    if rows:
        path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def _counts(reports: Sequence[FileReport], totals: Counter[str]) -> PhaseCounts:
    dropped = sum((report.dropped for report in reports), Counter())
    dropped["below-karma"] += totals["below_karma"]
    dropped["repeat"] += totals["rows"] - totals["links"]
    files = [{"file": report.file, "lines": report.lines, "fault": report.fault} for report in reports]
    return PhaseCounts(
        documents_in=sum(report.lines for report in reports),
        documents_out=totals["links"],
        dropped={reason: n for reason, n in sorted(dropped.items()) if n},
        extra={
            "files": files,
            "faults": [report.fault for report in reports if report.fault],
            "submissions_from_months_with_unreliable_scores": sum(r.unreliable_scores for r in reports),
        },
    )
