"""What every kind of input becomes before it is aggregated: rows of links under the one URL key.

A row is a submission of a link, or several that were added up before (a table of links), or none at all: a
link that was listed, its karma unknown. Such a row has karma and submissions 0, and the link passes the karma
rule whatever else is known of it, for somebody chose it already.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from pipeline.data.lines import FileReport, read_lines
from pipeline.data.linking.blocklists import Blocked
from pipeline.data.url import UrlError, canonical, url_hash

SCHEMA = pa.schema(
    [
        ("hash", pa.uint64()),
        ("url", pa.string()),
        ("canonical_url", pa.string()),
        ("karma_sum", pa.int64()),
        ("karma_max", pa.int64()),
        ("submissions", pa.int64()),
        ("first_seen", pa.int64()),  # seconds since 1970; null where unknown
        ("subreddits", pa.string()),  # their names with commas between: lists are slow to aggregate
    ]
)


class Links:
    """A batch of rows in the making, and the block lists that they must pass."""

    def __init__(self, blocked: Blocked):
        self._blocked = blocked
        self._rows: list[tuple[object, ...]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(
        self,
        url: str,
        karma_sum: int = 0,
        karma_max: int = 0,
        submissions: int = 0,
        first_seen: int | None = None,
        subreddits: str = "",
    ) -> str | None:
        """Append a row unless its address is no page's or is blocked; returns the reason then."""
        if "&amp;" in url:
            url = url.replace("&amp;", "&")  # some months are escaped as HTML
        try:
            key = canonical(url)
        except UrlError as fault:
            return fault.reason
        reason = self._blocked.reason(key)
        if reason is None:
            self._rows.append(
                (url_hash(key), url, key, karma_sum, karma_max, submissions, first_seen, subreddits)
            )
        return reason

    def table(self) -> pa.Table:
        """Return the rows of SCHEMA, sorted by hash, and begin anew."""
        columns = zip(*self._rows, strict=True)
        arrays = [
            pa.array(column, field.type, from_pandas=False)
            for column, field in zip(columns, SCHEMA, strict=True)
        ]
        self._rows.clear()
        return pa.table(arrays, schema=SCHEMA).sort_by("hash")


def tables_of_lines(
    path: Path,
    report: FileReport,
    links: Links,
    add: Callable[[bytes, int], str | None],
    batch_rows: int,
    advance: Callable[[int], None],
) -> Iterator[pa.Table]:
    """Yield tables of at least `batch_rows` rows (the last may be smaller) of a file of lines.

    `add` puts a line, told with its number, into `links` or returns the reason why not, which is counted.
    """
    for first, lines in read_lines(path, report, advance):
        report.dropped.update(filter(None, map(add, lines, range(first, first + len(lines)))))
        if len(links) >= batch_rows:
            yield links.table()
    if len(links):
        yield links.table()
