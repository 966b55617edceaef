"""Links that somebody collected before: lists of addresses, and tables of links with or without their karma.

A list is text, one address a line, in any of the compressions. A table is a Parquet file with a column `url`
and, as far as they are known, `karma_max` and `karma_sum` (or one column for both: `karma` or `score`),
`submissions`, `first_seen` and `subreddits`: our own `links/*.parquet` is one. A row without karma is a
listed link, see `linkparts`. Rules on what a file does not tell (self posts, say) let it pass.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.lines import FileReport
from pipeline.data.linking.linkparts import Links, tables_of_lines
from pipeline.data.linking.submissions import Rules
from pipeline.errors import FormatError

_COLUMNS = {
    "url": pa.string(),
    "karma_max": pa.int64(),
    "karma_sum": pa.int64(),
    "karma": pa.int64(),
    "score": pa.int64(),
    "submissions": pa.int64(),
    "first_seen": pa.timestamp("s", "UTC"),
    "subreddits": pa.list_(pa.string()),
}
# Which column tells what, the first that there is.
_HIGHEST = ("karma_max", "karma_sum", "karma", "score")
_TOTAL = ("karma_sum", "karma_max", "karma", "score")
_BATCH_ROWS = 65_536
_DAMAGE = (OSError, UnicodeDecodeError, pa.ArrowException)


def read_list(
    path: Path, rules: Rules, report: FileReport, batch_rows: int, advance: Callable[[int], None]
) -> Iterator[pa.Table]:
    """Yield tables of rows of links, see `tables_of_lines`; fills `report`."""
    links = Links(rules.blocked)

    def add(line: bytes, number: int) -> str | None:
        try:
            url = line.decode().strip()
        except UnicodeDecodeError as fault:
            return report.broken(number, line, str(fault))
        return links.add(url) if url else "empty-line"

    return tables_of_lines(path, report, links, add, batch_rows, advance)


def read_table(
    path: Path, rules: Rules, report: FileReport, batch_rows: int, advance: Callable[[int], None]
) -> Iterator[pa.Table]:
    """Yield tables of rows of links like `read_list`; a damaged row group is counted, the next one read."""
    links = Links(rules.blocked)
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
    except _DAMAGE as fault:
        report.fault = f"{path}: not readable as Parquet ({_first_line(fault)})"
        return
    with file:
        names = [name for name in file.schema_arrow.names if name in _COLUMNS]
        for group in range(file.num_row_groups):
            end = report.lines + file.metadata.row_group(group).num_rows
            try:
                for batch in file.iter_batches(_BATCH_ROWS, [group], names):
                    _add_batch(batch, links, rules, report)
                    if len(links) >= batch_rows:
                        yield links.table()
            except _DAMAGE as fault:
                report.fault = report.fault or f"{path}: row group {group}: damaged ({_first_line(fault)})"
                report.dropped["damaged"] += end - report.lines
                report.lines = end
            advance(path.stat().st_size // file.num_row_groups)
    if len(links):
        yield links.table()


def check_table(path: Path) -> None:
    """Raise FormatError unless the table has the columns it must have; what is damaged is told when read."""
    try:
        schema = pq.read_schema(path)
    except _DAMAGE:
        return
    if "url" not in schema.names:
        raise FormatError(
            f"{path}: no column `url` (found {', '.join(schema.names)}); rename the one that holds the links"
        )
    for name in set(schema.names) & set(_COLUMNS):
        kind = schema.field(name).type
        if not _can_be(kind, _COLUMNS[name]):
            raise FormatError(
                f"{path}: column `{name}` is {kind}, not {_COLUMNS[name]}; convert or rename it"
            )


def _can_be(kind: pa.DataType, wanted: pa.DataType) -> bool:
    """Tell whether a column can be read as another type, numbers never as text or text as numbers."""
    if pa.types.is_primitive(kind) != pa.types.is_primitive(wanted):
        return False
    try:
        pa.nulls(0, kind).cast(wanted)
    except pa.ArrowException:
        return False
    return True


def _add_batch(batch: pa.RecordBatch, links: Links, rules: Rules, report: FileReport) -> None:
    """Append the rows of a batch; those left out are counted."""
    columns = {name: batch.column(name).cast(_COLUMNS[name], safe=False) for name in batch.schema.names}
    if "first_seen" in columns:
        columns["first_seen"] = columns["first_seen"].cast(pa.int64())
    values = {name: column.to_pylist() for name, column in columns.items()}
    for row in zip(*values.values(), strict=True):
        report.lines += 1
        reason = _add(dict(zip(values, row, strict=True)), links, rules, report)
        if reason is not None:
            report.dropped[reason] += 1


def _add(row: dict[str, Any], links: Links, rules: Rules, report: FileReport) -> str | None:
    """Append a row of a table; returns why not, if not."""
    if row["url"] is None:
        return report.broken(report.lines, b"null", "url is null")
    subreddits = [name for name in row.get("subreddits") or () if name]
    if subreddits and rules.drop_subreddits.issuperset(map(str.lower, subreddits)):
        return "subreddit"
    first_seen = row.get("first_seen")
    if first_seen is not None and not rules.covers(first_seen):
        return "date"
    highest = next((row[name] for name in _HIGHEST if name in row), None)
    total = next((row[name] for name in _TOTAL if name in row), None)
    if highest is None or total is None:
        highest = total = submissions = 0
    else:
        submissions = 1 if row.get("submissions") is None else row["submissions"]
    return links.add(row["url"], total, highest, submissions, first_seen, ",".join(subreddits))


def _first_line(fault: Exception) -> str:
    return str(fault).partition("\n")[0]
