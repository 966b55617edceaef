"""What the corpus is like: karma of its pages, where they come from, how long they are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.report import numbers
from pipeline.report.bars import across, upright
from pipeline.report.figure import Figure
from pipeline.report.section import Section, Table
from pipeline.report.sources import Sources

NAME, TITLE = "corpus", "What the corpus is like"
MOST_ROWS = 15
RANGES = ((0, 1), (2, 2), (3, 5), (6, 10), (11, 30), (31, 100), (101, 300), (301, 1000), (1001, None))


def section(sources: Sources) -> Section:
    """Return the section, or how to build the dataset it needs."""
    if sources.dataset is None:
        return Section(name=NAME, title=TITLE, remedy="no dataset here; `loglinear data CONFIG` builds one")
    seen = _seen(sources.phases)
    submitted = sources.extra("submissions/histogram.json")
    values = {
        "submitted": _karma(submitted, "submitted") if submitted else None,
        "karma": _karma(_link_karma(sources.dataset), "links"),
        "lengths": _lengths(seen.get("lengths_in_tokens")),
        "domains": across(
            "domains",
            seen.get("domains", {}),
            title="Documents by domain",
            caption="Documents kept, by registered domain or host: the most frequent.",
        ),
        "languages": _counted("language", "documents", seen.get("languages")),
        "folders": _counted("site and first folder", "links", _folders(sources.dataset)),
    }
    return Section(name=NAME, title=TITLE, template="corpus.html.j2", values=values)


def histogram(counts: Mapping[str, int]) -> dict[str, int]:
    """Return counts by score as counts by range; keys are scores ("7") or ranges already ("3-5", "301+")."""
    if not all(key.lstrip("-").isdigit() for key in counts):
        return dict(sorted(counts.items(), key=lambda item: _low(item[0])))
    ranges: Counter[str] = Counter({_label(span): 0 for span in RANGES})
    for score, number in counts.items():
        ranges[next(_label(span) for span in RANGES if span[1] is None or int(score) <= span[1])] += number
    return dict(ranges)


def _seen(phases: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return what the phase that tokenized saw of the documents it kept."""
    found = [phase["extra"]["seen"] for phase in phases if "seen" in phase.get("extra", {})]
    return found[-1] if found else {}


def _link_karma(dataset: Path) -> dict[str, int]:
    rows = _query(dataset, "select karma_max, count(*) from links group by all")
    return {str(karma): number for karma, number in rows if karma is not None}


def _folders(dataset: Path) -> dict[str, int]:
    """Return the links of each first folder of a host: packages, boards, or what else it has."""
    query = r"""
        select regexp_extract(canonical_url, '://([^/]+/[^/?#]+)/', 1) as folder, count(*) as number
        from links where folder <> '' group by all order by number desc, folder limit 15
    """
    return dict(_query(dataset, query))


def _query(dataset: Path, query: str) -> list[tuple[Any, ...]]:
    """Return the answer of duckdb about the dataset's links; nothing where it keeps none."""
    files = sorted(str(path) for path in (dataset / "links").glob("*.parquet"))
    if not files:
        return []
    import duckdb

    with duckdb.connect(config={"threads": 1}) as database:
        database.read_parquet(files).create_view("links")  # its name in the queries
        return list(database.execute(query).fetchall())


def _karma(counts: Mapping[str, int], what: str) -> Figure | None:
    if not sum(counts.values()):
        return None
    ranges = _without_empty_ends(histogram(counts))
    caption = {
        "submitted": "Submitted pages by score: the number of other pages that link to a page.",
        "links": "Links that were kept, by karma (the highest score of their submissions).",
    }[what]
    return upright(f"karma-{what}", ranges, title="Pages by karma", caption=caption, label="score")


def _without_empty_ends(ranges: Mapping[str, int]) -> dict[str, int]:
    filled = [place for place, number in enumerate(ranges.values()) if number]
    return dict(list(ranges.items())[filled[0] : filled[-1] + 1])


def _lengths(counts: Mapping[str, int] | None) -> Figure | None:
    if not counts:
        return None
    bounds = sorted((int(bound), number) for bound, number in counts.items())
    bars = {f"≤ {numbers.count(bound)}": number for bound, number in bounds}
    return upright(
        "lengths",
        bars,
        title="Documents by length",
        caption="Documents kept, by length in tokens.",
        label="tokens",
    )


def _counted(what: str, unit: str, counts: Mapping[str, int] | None) -> Table | None:
    if not counts:
        return None
    whole = sum(counts.values())
    ordered: Sequence[tuple[str, int]] = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rows = [
        (name, numbers.count(number), numbers.percent(number / whole)) for name, number in ordered[:MOST_ROWS]
    ]
    return Table(
        head=(what, unit, "share of those listed" if len(counts) >= MOST_ROWS else "share"), rows=rows
    )


def _label(span: tuple[int, int | None]) -> str:
    low, high = span
    if high is None:
        return f"{low}+"
    return str(low) if low == high else f"{low}-{high}"


def _low(label: str) -> int:
    found = re.match(r"-?\d+", label)
    return int(found[0]) if found else 0
