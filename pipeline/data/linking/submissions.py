"""Reddit submissions dumps as rows of links: JSON lines, the rules per submission, the months to distrust.

Only the fields that matter are decoded, the others skipped: most of the phase's speed comes from that, and a
bad byte in a title costs no link. A line that is no JSON, or with fields of another kind, is malformed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import pyarrow as pa

from pipeline.data.lines import FileReport
from pipeline.data.linking.blocklists import Blocked
from pipeline.data.linking.linkparts import Links, tables_of_lines

_LAST_SECOND = 1 << 33  # year 2242
_MAX_SCORE = 1 << 53
# From 2023-04 to 2023-10 scores were collected once, seconds after posting, and are nearly all 0 or 1.
_UNRELIABLE = range(1_680_307_200, 1_698_796_800)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Which submissions count, apart from karma; times are seconds since 1970."""

    drop_self: bool
    drop_over_18: bool
    drop_subreddits: frozenset[str]  # lower case
    since: int
    until: int
    blocked: Blocked

    def covers(self, created: int) -> bool:
        """Tell whether a time lies between the first day and the last."""
        return self.since <= created < self.until


class Submission(msgspec.Struct, gc=False):
    """What we read of a line; the months differ in how they write the time and in what they leave out."""

    url: str
    score: Annotated[int, msgspec.Meta(ge=-_MAX_SCORE, le=_MAX_SCORE)]
    created_utc: int | float | str
    subreddit: str | None = None
    is_self: bool | None = None
    over_18: bool | None = None
    domain: str | None = None


_decode = msgspec.json.Decoder(Submission).decode


def read_submissions(
    path: Path, rules: Rules, report: FileReport, batch_rows: int, advance: Callable[[int], None]
) -> Iterator[pa.Table]:
    """Yield tables of rows of links, see `tables_of_lines`; fills `report`."""
    links = Links(rules.blocked)

    def add(line: bytes, number: int) -> str | None:
        try:
            row = _decode(line)
            created = int(row.created_utc)
            if not 0 <= created < _LAST_SECOND:
                raise ValueError("created_utc is no time")
        except (ValueError, RecursionError) as fault:
            return report.broken(number, line, str(fault))
        reason = _unwanted(row, created, rules)
        if reason is None:
            reason = links.add(row.url, row.score, row.score, 1, created, row.subreddit or "")
            report.unreliable_scores += reason is None and created in _UNRELIABLE
        return reason

    return tables_of_lines(path, report, links, add, batch_rows, advance)


def _unwanted(row: Submission, created: int, rules: Rules) -> str | None:
    if rules.drop_self and (_looks_self(row) if row.is_self is None else row.is_self):
        return "self-post"
    if rules.drop_over_18 and row.over_18:
        return "over-18"
    if row.subreddit is not None and row.subreddit.lower() in rules.drop_subreddits:
        return "subreddit"
    return None if rules.covers(created) else "date"


def _looks_self(row: Submission) -> bool:
    """Tell a self post in dumps from before the field existed."""
    return row.domain is not None and row.domain.startswith("self.")
