"""Links looked up in Common Crawl's columnar index: for each link the one capture to take, if there is any.

The index is some hundred Parquet files per crawl, sorted by SURT. One after the other is joined with the
links whose SURT lies in its range; what was found is kept file by file, so that a lookup that was killed goes
on with the next. duckdb does the work and spills to disk what memory does not hold.
"""

import errno
import gzip
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa

from pipeline.data.archive.config import WEB
from pipeline.data.archive.httpfiles import HttpFiles
from pipeline.data.inputs import matching
from pipeline.data.stored.responses import MAX_BYTES, PAGE_TYPES
from pipeline.errors import ConfigError, FormatError, StageError
from pipeline.formats.publish import publishing
from pipeline.log import progress

_LIST_SUFFIX = ".paths.gz"
_LIST_BYTES = 16 << 20
_ROWS = 4096
_REQUIRED = [
    "url_surtkey",
    "url",
    "fetch_time",
    "fetch_status",
    "content_mime_type",
    "warc_filename",
    "warc_record_offset",
    "warc_record_length",
]
_OPTIONAL = {  # columns that early crawls lack, and what stands for them
    "content_mime_detected": "NULL::VARCHAR",
    "content_truncated": "NULL::VARCHAR",
    "content_digest": "NULL::VARCHAR",
}
Prefer = Literal["nearest", "newest"]


class Lookup:
    """The captures of a dataset's links; `work` holds what has been found so far."""

    def __init__(self, links: Path, work: Path, *, prefer: Prefer, before: date | None, memory_limit: str):
        self._links, self._work, self._memory_limit = links, work, memory_limit
        self._distance = "abs(captured - submitted) NULLS LAST, " if prefer == "nearest" else ""
        self._before = int(datetime.combine(before, time(), UTC).timestamp() * 1000) if before else 1 << 62

    def run(self, files: Sequence[str], remote: Sequence[Any]) -> Path:
        """Return a Parquet file of the chosen captures, in the order in which they lie in the archive.

        `remote` are the file systems (fsspec) that the URLs among `files` need. Raises FormatError for an
        index file without the columns, StageError for one that cannot be read.
        """
        chosen = self._work / "chosen.parquet"
        if chosen.exists():
            return chosen
        self._work.mkdir(parents=True, exist_ok=True)
        with (
            database(self._work, self._memory_limit) as connection,
            progress("index", len(files), "files") as shown,
        ):
            for filesystem in remote:
                connection.register_filesystem(filesystem)
            wanted = self._wanted(connection)
            for file in files:
                part = self._part(file)
                if not part.exists():
                    with _reading(file, remote):
                        self._look_into(connection, file, wanted, part)
                shown.advance()
            parts = [str(self._part(file)) for file in files]
            query = (
                f"{self._best('read_parquet(?)')} ORDER BY warc_filename, warc_record_offset, canonical_url"
            )
            _write(connection, query, [parts], chosen)
        return chosen

    def _wanted(self, connection: Any) -> Path:
        """Return the links by SURT, so that those of an index file's range lie together."""
        path = self._work / "wanted.parquet"
        if not path.exists():
            query = (
                "SELECT surt, url AS link, canonical_url, CASE WHEN epoch_ms(first_seen) > 0 THEN "
                "epoch_ms(first_seen) END AS submitted FROM read_parquet(?) ORDER BY surt, canonical_url"
            )
            _write(connection, query, [str(self._links / "*.parquet")], path)
        return path

    def _part(self, file: str) -> Path:
        return self._work / f"{hashlib.blake2b(file.encode(), digest_size=8).hexdigest()}.parquet"

    def _look_into(self, connection: Any, file: str, wanted: Path, part: Path) -> None:
        """Write the best capture of each link in one index file."""
        columns = {row[0] for row in connection.execute("DESCRIBE FROM read_parquet(?)", [file]).fetchall()}
        missing = [name for name in _REQUIRED if name not in columns]
        if missing:
            raise FormatError(
                f"{file}: no column {', '.join(missing)}; commoncrawl.index takes files of the columnar "
                "index (cc-index/table/cc-main/warc)"
            )
        low, high = connection.execute(
            "SELECT min(stats_min_value), max(stats_max_value) FROM parquet_metadata(?) "
            "WHERE path_in_schema = 'url_surtkey'",
            [file],
        ).fetchall()[0]
        kind = f"coalesce({_column('content_mime_detected', columns)}, content_mime_type)"
        found = f"""(
            SELECT links.*, capture.url, capture.warc_filename, capture.warc_record_offset,
                   capture.warc_record_length, epoch_ms(capture.fetch_time::TIMESTAMP) AS captured,
                   {_column("content_digest", columns)} AS content_digest,
                   coalesce({_column("content_truncated", columns)}, '') <> '' AS is_truncated
            FROM read_parquet($file) AS capture
            JOIN (FROM read_parquet($wanted) WHERE surt BETWEEN $low AND $high) AS links
            ON capture.url_surtkey = links.surt
            WHERE capture.fetch_status = 200 AND captured < $before
            AND capture.warc_record_length BETWEEN 1 AND {MAX_BYTES}
            AND list_contains($types, {kind})
        )"""
        values = {"file": file, "wanted": str(wanted), "low": low or "", "high": high or "\U0010ffff"}
        types = sorted(PAGE_TYPES)
        _write(connection, self._best(found), {**values, "before": self._before, "types": types}, part)

    def _best(self, captures: str) -> str:
        """Return the query for the one capture to take of each link.

        Whole ones before truncated ones, then by date as configured; what comes last only makes it certain.
        """
        return (
            f"SELECT * FROM {captures} QUALIFY row_number() OVER (PARTITION BY canonical_url "
            f"ORDER BY is_truncated, {self._distance}captured DESC, url <> canonical_url, url, "
            "warc_filename, warc_record_offset) = 1"
        )


@contextmanager
def database(work: Path, memory_limit: str) -> Iterator[Any]:
    """Yield duckdb, in bounded memory; what it holds no longer goes to disk below `work`."""
    settings = {
        "memory_limit": memory_limit,
        "temp_directory": str(work / "spill"),
        "autoload_known_extensions": False,  # nothing is downloaded behind anybody's back
        "autoinstall_known_extensions": False,
    }
    with duckdb.connect(config=settings) as connection:
        connection.execute("SET enable_progress_bar = false")  # it would go to stdout
        yield connection


def rows(relation: Any) -> Iterator[dict[str, Any]]:
    """Yield the rows of a query, few at a time."""
    for batch in pa.RecordBatchReader.from_stream(relation):
        for start in range(0, batch.num_rows, _ROWS):
            yield from batch.slice(start, _ROWS).to_pylist()


def local_files(patterns: Sequence[str]) -> list[Path]:
    """Return the files of those entries of `commoncrawl.index` that are no URLs. Raises ConfigError."""
    return matching("commoncrawl.index", [each for each in patterns if "://" not in each])


def index_files(patterns: Sequence[str], base: str, read: Callable[[str], bytes], s3: Any) -> list[str]:
    """Return all index files: paths, patterns, URLs, and those that `*.paths.gz` lists name below `base`.

    `read` returns the bytes of a URL, `s3` is the file system for `s3://`, if there is one.
    """
    files: list[str] = []
    for name in [*map(str, local_files(patterns)), *(each for each in patterns if "://" in each)]:
        if name.endswith(_LIST_SUFFIX):
            data = read(name) if name.startswith(WEB) else Path(name).read_bytes()
            files += [f"{base.rstrip('/')}/{each}" for each in _listed(name, data)]
        elif name.startswith("s3://"):
            files += [f"s3://{each}" for each in sorted(s3.glob(name))]
        elif name.startswith(WEB) and "*" in name:
            raise ConfigError(
                f"commoncrawl.index: {name}: web servers know no patterns; give a crawl's list of them, "
                "cc-index-table.paths.gz"
            )
        else:
            files.append(name)
    return sorted(set(files))


def read_list(files: HttpFiles, url: str) -> bytes:
    """Return a list of paths as it is on the server. Raises StageError."""
    with _reading(url, [files]):
        size = files.info(url)["size"]
        if size > _LIST_BYTES:
            raise StageError(f"{url}: {size} bytes are no list of index files")
        return files.read_range(url, 0, size)


def _listed(name: str, data: bytes) -> list[str]:
    try:
        lines = gzip.decompress(data).decode().split()
    except (OSError, EOFError, UnicodeDecodeError) as fault:
        raise FormatError(f"{name}: no list of paths in gzip ({fault}); copy it anew") from None
    # A crawl's list names two more tables, of failed fetches and of robots.txt files.
    return [line for line in lines if "subset=" not in line or "subset=warc/" in line]


def _column(name: str, columns: set[str]) -> str:
    return f"capture.{name}" if name in columns else _OPTIONAL[name]


def _write(connection: Any, query: str, values: Any, path: Path) -> None:
    with publishing(path) as draft:
        target = str(draft).replace("'", "''")
        try:
            connection.execute(f"COPY ({query}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)", values)
        except duckdb.IOException as fault:
            if os.strerror(errno.ENOSPC) in str(fault):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None
            raise


@contextmanager
def _reading(file: str, remote: Sequence[Any]) -> Iterator[None]:
    """Tell what went wrong with an index file in one line."""
    try:
        yield
    except (duckdb.Error, OSError) as fault:
        if getattr(fault, "errno", None) == errno.ENOSPC:
            raise  # nothing is wrong with the index file
        why = next((str(each.fault) for each in remote if getattr(each, "fault", None)), None)
        why = why or str(fault).partition("\n")[0]
        raise StageError(
            f"{file}: {why}; what was found in other files is kept: run the same command again, or leave "
            "this file out of commoncrawl.index"
        ) from None
