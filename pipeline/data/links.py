"""The first phase: submissions with votes become a list of links worth fetching.

Inputs are told apart by name: `*.txt` (also compressed) lists addresses, `*.parquet` is a table of links, all
else is a dump of Reddit submissions. Each is read once into sorted parts, then those are aggregated. What a
page's submissions add up to is kept beside its URL: later phases choose among duplicates by it.
"""

import glob
import logging
import multiprocessing
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any, Literal

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import Schema, execution, identity
from pipeline.data.counts import PhaseCounts
from pipeline.data.lines import COMPRESSIONS, FileReport
from pipeline.data.linking.blocklists import read_blocklists
from pipeline.data.linking.karma import aggregate
from pipeline.data.linking.linklists import check_table, read_list, read_table
from pipeline.data.linking.linkparts import SCHEMA as PART_SCHEMA
from pipeline.data.linking.submissions import Rules, read_submissions
from pipeline.errors import ConfigError
from pipeline.formats.publish import publishing, remove_leftovers
from pipeline.log import progress

log = logging.getLogger("loglinear.data")
_PART_ROWS = 100_000
_ROW_GROUP = 8192


class LinksConfig(Schema):
    """Where submissions come from and which links are kept."""

    inputs: list[str] = identity(
        min_length=1, description="dumps, URL lists (.txt), tables of links (.parquet); paths or patterns"
    )
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
    workers: int = execution(1, ge=1, description="processes that read files; threads that aggregate")
    memory_limit: str = execution("1GB", pattern=r"^\d+(\.\d+)? ?[KMGT]i?B$", description="duckdb's memory")


def inputs(config: LinksConfig) -> list[Path]:
    """Return all files the phase reads, block lists last; ConfigError names all that cannot be used."""
    problems = [
        f"links.inputs: {name}: no such file; give the path of a dump or a list of links"
        for name in config.inputs
        if not _matching(name)
    ]
    try:
        read_blocklists(config.blocklists)
    except ConfigError as fault:
        problems += fault.problems
    if problems:
        raise ConfigError(problems)
    return [*_input_files(config), *config.blocklists]


def run(config: LinksConfig, out: Path) -> PhaseCounts:
    """Write `out/links/*.parquet` (ordered by the hash of the canonical URL) and, if any, `malformed.jsonl`.

    Counts lines: each is a link kept, or dropped under a reason (`repeat`: a kept link's other submission).
    Raises ConfigError and FormatError before any work for what cannot be used; what is damaged is read as far
    as it goes, and told.
    """
    inputs(config)
    files = _input_files(config)
    for path in files:
        if path.suffix == ".parquet":
            check_table(path)
    remove_leftovers(out)
    shutil.rmtree(out / "links", ignore_errors=True)  # whoever calls wants it made anew
    with publishing(out / "links") as draft:
        parts = draft / "parts"
        parts.mkdir(parents=True)
        reports = _read_files(files, config, parts)
        _write_malformed(reports, draft / "malformed.jsonl")
        totals = aggregate(
            parts,
            draft,
            karma=config.karma,
            min_karma=config.min_karma,
            memory_limit=config.memory_limit,
            threads=config.workers,
        )
        shutil.rmtree(parts)
    _warn(reports)
    return _counts(reports, totals)


def _input_files(config: LinksConfig) -> list[Path]:
    return sorted({path for pattern in config.inputs for path in _matching(pattern)})


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
    """Read one input into `parts/NUMBER.parquet`."""
    report = FileReport(str(path))
    tables = _reader(path)(path, _rules(config), report, _PART_ROWS, advance)
    # Dictionaries and statistics only where they help: they would take most of the time of writing.
    how = {"compression": "lz4", "use_dictionary": ["subreddits"], "write_statistics": ["hash"]}
    with pq.ParquetWriter(parts / f"{number:05d}.parquet", PART_SCHEMA, **how) as writer:
        for table in tables:
            # Small row groups of sorted rows: a slice of the hash range reads few of them.
            writer.write_table(table, row_group_size=_ROW_GROUP)
    return report


def _reader(path: Path) -> Callable[..., Iterator[pa.Table]]:
    if path.suffix == ".parquet":
        return read_table
    name = path.with_suffix("") if path.suffix in COMPRESSIONS else path
    return read_list if name.suffix == ".txt" else read_submissions


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


def _write_malformed(reports: Sequence[FileReport], path: Path) -> None:
    rows = [row for report in reports for row in report.malformed]
    if rows:
        path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def _warn(reports: Sequence[FileReport]) -> None:
    """Say aloud what of the inputs should not be trusted, file by file."""
    for report in reports:
        if report.fault:
            log.warning("%s; what could be read is used: get the file anew", report.fault)
        if not report.has_checksums:
            log.warning("%s: written without checksums, so that damage may pass unseen", report.file)
        if report.unreliable_scores:
            log.warning(
                "%s: %s submissions are from 2023-04 to 2023-10, when scores were taken seconds after a post "
                "and say nothing; set links.until: 2023-04-01, or leave these months out of links.inputs",
                report.file,
                f"{report.unreliable_scores:,}",
            )


def _counts(reports: Sequence[FileReport], totals: Counter[str]) -> PhaseCounts:
    dropped = sum((report.dropped for report in reports), Counter())
    dropped["below-karma"] += totals["below"]
    dropped["repeat"] += totals["rows"] - totals["links"]
    return PhaseCounts(
        documents_in=sum(report.lines for report in reports),
        documents_out=totals["links"],
        dropped={reason: n for reason, n in sorted(dropped.items()) if n},
        extra={
            "files": [_told(report) for report in reports],
            "faults": [report.fault for report in reports if report.fault],
            "submissions_from_months_with_unreliable_scores": sum(r.unreliable_scores for r in reports),
        },
    )


def _told(report: FileReport) -> dict[str, Any]:
    return {
        "file": report.file,
        "lines": report.lines,
        "fault": report.fault,
        "unreliable_scores": report.unreliable_scores,
        "has_checksums": report.has_checksums,
    }
