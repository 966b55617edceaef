"""What a build will cost, before anything is spent: hours, cores, disk and traffic of each phase.

What is known is used (counts of finished phases, sizes of input files, how many links the largest domain
has); where nothing is, the figures are WebText's. Rates are stated here with their sources; faster cores take
less, filters that drop more make everything after them cheaper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from launch.environment import available_cpus
from pipeline.config import kind_name
from pipeline.data.inputs import matching
from pipeline.data.marks import mark_path
from pipeline.data.phases import wanted
from pipeline.formats.publish import read_json

# GPT-2 paper, section 2.1: 45 million links, "slightly over 8 million documents for a total of 40 GB".
LINKS, DOCUMENTS, TEXT_BYTES = 45e6, 8e6, 40e9
DUMP_BYTES = 140e9  # compressed submissions; README of the OpenWebText replica
LARGEST_DOMAIN = 1.54e6  # links to google, the first of the list of domains that was published with GPT-2
FETCHED = 0.45  # of old links: 43 % in OpenWebText, 35 to 56 % in later replicas
PAGE_BYTES = 25_000  # compressed, headers included: a WARC file of Common Crawl has some 40,000 in 1 GB
# Kept of what comes in. The paper has only the product: 18 % of the links, so 40 % of the pages fetched.
KEPT = {"fetch": FETCHED, "extract": 0.95, "filter": 0.6, "dedup": 0.7}
BYTES_PER_TOKEN = 4.4  # GPT-2's vocabulary on OpenWebText: 11.9 GB, 2.7 billion tokens
BYTES_PER_WORD = 5.7  # of English prose, blanks included
ZSTD = 3.0  # how many times smaller text lies on disk

# For one core of a small server, measured with the quickstart unless another source is named.
DUMP_BYTES_PER_SECOND = 8e6  # compressed; JSON is ten times that
PAGES_PER_SECOND = {"trafilatura": 25, "resiliparse": 240}
TEXT_BYTES_PER_SECOND = {
    "read": 20e6,
    "filter": 2.5e6,
    "wikipedia": 3e6,
    "remove": 20e6,
    "dedup": 1.5e6,
    "decontaminate": 1.5e6,
    "tokenize": 3e6,
    "publish": 200e6,  # hashes of the shards, one core
}
LINK_SECONDS = (
    3.0  # from the first packet to the last or to giving up; 59 links/s at 200 connections in a replica
)
COMMON_CRAWL_SECONDS = 0.5  # a ranged read of one record
INDEX_BYTES = 250e9  # columns read of one crawl's index


@dataclass(frozen=True, kw_only=True)
class Volume:
    """How much there is: links, pages or documents, and their bytes."""

    count: float
    size: float


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one phase takes in, gives out and costs; `note` says what bounds it, or that it is done."""

    phase: str
    into: Volume
    out: Volume
    core_hours: float = 0.0
    hours: float = 0.0
    disk: float = 0.0
    network: float = 0.0
    note: str = ""


def describe(config: Any) -> str:
    """Return the costs of the phases as an aligned table, and what they rest on."""
    found = list(costs(config))
    rows: list[tuple[str, ...]] = [("phase", "in", "out", "core hours", "hours", "disk", "network", "")]
    rows += [_row(cost) for cost in found]
    total = [
        sum(getattr(cost, name) for cost in found) for name in ("core_hours", "hours", "disk", "network")
    ]
    rows.append(
        ("in all", "", "", _hours(total[0]), _hours(total[1]), _bytes(total[2]), _bytes(total[3]), "")
    )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = (
        "  ".join(
            text.ljust(width) if column in (0, 7) else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
    return "\n".join(
        [f"What to expect, with {cores(config)} tasks at a time (stated rates, see estimate.py):", *lines]
    )


def cores(config: Any) -> int:
    """Return how many tasks run at a time."""
    return int(config.execute.workers or available_cpus())


def costs(config: Any) -> Iterator[Cost]:
    """Yield the cost of each phase of a configuration, in order; a finished one gives its counts instead."""
    volume = _source(config)
    for phase in wanted(config):
        mark = mark_path(config.out, phase.name)
        if mark.is_file():
            cost = _done(phase.name, volume, read_json(mark))
        else:
            cost = _PHASES.get(phase.name, _of_text)(phase.name, config, volume)
        yield cost
        volume = cost.out


def _source(config: Any) -> Volume:
    """Return what the first phase reads: dumps, WARC files or documents; WebText's where none is here."""
    if config.links is not None:
        return Volume(count=LINKS, size=_size(config.links.inputs) or DUMP_BYTES)
    if config.extract is not None:
        size = _size(config.paths) or LINKS * FETCHED * PAGE_BYTES
        return Volume(count=size / PAGE_BYTES, size=size)
    size = _size(config.paths) or TEXT_BYTES
    return Volume(count=size * DOCUMENTS / TEXT_BYTES, size=size)


def _size(patterns: Iterable[str]) -> float:
    """Return the bytes of the files that are here."""
    from pipeline.errors import ConfigError

    try:
        return sum(path.stat().st_size for path in matching("inputs", list(patterns)))
    except ConfigError:
        return 0.0


def _done(name: str, into: Volume, mark: dict[str, Any]) -> Cost:
    """Return what a finished phase left; where it counted no bytes, in proportion. Links have none."""
    counts = mark["counts"]
    count, extra = counts["documents_out"], counts["extra"]
    share = count / max(1, counts["documents_in"])
    size = 0.0 if name == "links" else extra.get("bytes_out", extra.get("bytes", into.size * share))
    came = Volume(count=counts["documents_in"], size=into.size)
    return Cost(phase=name, into=came, out=Volume(count=count, size=size), note="done")


def _links(name: str, config: Any, into: Volume) -> Cost:
    """One process reads a dump; aggregation is small beside it."""
    seconds = into.size / DUMP_BYTES_PER_SECOND
    out = Volume(count=LINKS * min(1.0, into.size / DUMP_BYTES), size=0.0)
    hours = seconds / config.links.workers / 3600
    return Cost(phase=name, into=into, out=out, core_hours=seconds / 3600, hours=hours, disk=out.count * 150)


def _fetch(name: str, config: Any, into: Volume) -> Cost:
    """A worker waits more than it works; the domain with most links decides when the last page is there."""
    served = into.count * FETCHED if config.commoncrawl is not None else 0.0
    asked = into.count - served
    fetched = asked * FETCHED * PAGE_BYTES
    out = Volume(count=served + asked * FETCHED, size=into.size + fetched)
    seconds = asked * LINK_SECONDS / config.fetch.concurrency / config.fetch.workers
    most = _links_of_the_largest_domain(config.out) or LARGEST_DOMAIN * asked / LINKS
    polite = most * config.fetch.host_delay_seconds
    note = (
        f"largest domain: {most:,.0f} links, {_hours(polite / 3600)} h at its pace"
        if polite > seconds
        else ""
    )
    hours = max(seconds, polite) / 3600
    core_hours = seconds * config.fetch.workers / 3600
    return Cost(
        phase=name, into=into, out=out, core_hours=core_hours, hours=hours, disk=fetched, network=fetched,
        note=note,
    )  # fmt: skip


def _commoncrawl(name: str, config: Any, into: Volume) -> Cost:
    """Ranged reads, a few at a time; if a live fetch of the rest follows, nothing is dropped here."""
    pages = into.count * FETCHED
    seconds = pages * COMMON_CRAWL_SECONDS / config.commoncrawl.connections
    left = into.count if config.fetch is not None else pages
    network = pages * PAGE_BYTES + INDEX_BYTES * len(config.commoncrawl.index)
    return Cost(
        phase=name, into=into, out=Volume(count=left, size=pages * PAGE_BYTES), core_hours=seconds / 3600,
        hours=seconds / 3600, disk=pages * PAGE_BYTES, network=network,
    )  # fmt: skip


def _extract(name: str, config: Any, into: Volume) -> Cost:
    """The parser is nearly all of the work."""
    seconds = into.count / PAGES_PER_SECOND.get(kind_name(config.extract), PAGES_PER_SECOND["trafilatura"])
    count = into.count * KEPT[name]
    out = Volume(count=count, size=count * TEXT_BYTES / DOCUMENTS)
    return _shared(name, config, into, out, seconds, out.size / ZSTD)


def _of_text(name: str, config: Any, into: Volume) -> Cost:
    """A pass over all text; what it drops stays on disk with its reason."""
    kept = KEPT.get(name, 1.0)
    out = Volume(count=into.count * kept, size=into.size * kept)
    return _shared(name, config, into, out, into.size / TEXT_BYTES_PER_SECOND[name], into.size / ZSTD)


def _decontaminate(name: str, config: Any, into: Volume) -> Cost:
    """A pass over all text, and the Bloom filter if one is asked for: its size is told before it is built."""
    cost = _of_text(name, config, into)
    bloom = config.decontaminate.bloom
    if bloom is None:
        return cost
    ngrams = int(into.size / BYTES_PER_WORD)
    disk = cost.disk + bloom.size_bytes(ngrams) + 8 * ngrams
    return replace(cost, disk=disk, note=bloom.told(ngrams))


def _tokenize(name: str, config: Any, into: Volume) -> Cost:
    """Two bytes a token, and again as much until the shards stand."""
    disk = 2 * into.size / BYTES_PER_TOKEN
    seconds = into.size / TEXT_BYTES_PER_SECOND[name]
    cost = _shared(name, config, into, into, seconds, 2 * disk)
    return replace(cost, note=f"{_count(into.size / BYTES_PER_TOKEN)} tokens")


def _publish(name: str, _config: Any, into: Volume) -> Cost:
    """Every shard is read once for its hash."""
    hours = into.size * 2 / BYTES_PER_TOKEN / TEXT_BYTES_PER_SECOND[name] / 3600
    return Cost(phase=name, into=into, out=into, core_hours=hours, hours=hours)


def _shared(name: str, config: Any, into: Volume, out: Volume, seconds: float, disk: float) -> Cost:
    """Return the cost of work that is shared by all cores."""
    hours = seconds / 3600
    return Cost(phase=name, into=into, out=out, core_hours=hours, hours=hours / cores(config), disk=disk)


def _links_of_the_largest_domain(dataset: Path) -> float | None:
    """Return how many links one registered domain has at most, once they are counted."""
    files = sorted(str(path) for path in (dataset / "links").glob("*.parquet"))
    if not files:
        return None
    import duckdb

    # SURT begins with the reversed domain: `com,example,www)/page`; two labels are near enough for a bound.
    domain = "regexp_extract(surt, '^[^,)]*,[^,)]*')"
    query = f"select max(number) from (select count(*) as number from links group by {domain})"
    with duckdb.connect() as database:
        database.read_parquet(files).create_view("links")
        row = database.execute(query).fetchone()
    return float(row[0]) if row and row[0] is not None else None


_PHASES: dict[str, Callable[[str, Any, Volume], Cost]] = {
    "links": _links,
    "commoncrawl": _commoncrawl,
    "fetch": _fetch,
    "extract": _extract,
    "decontaminate": _decontaminate,
    "tokenize": _tokenize,
    "publish": _publish,
}


def _row(cost: Cost) -> tuple[str, ...]:
    if cost.note == "done":
        return (cost.phase, _count(cost.into.count), _count(cost.out.count), "", "", "", "", "done")
    hours = (_hours(cost.core_hours), _hours(cost.hours))
    return (
        cost.phase, _count(cost.into.count), _count(cost.out.count), *hours, _bytes(cost.disk),
        _bytes(cost.network) if cost.network else "", cost.note,
    )  # fmt: skip


def _hours(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 0.1 else "< 0.1"


def _count(value: float) -> str:
    return (
        f"{value / 1e9:.1f} B"
        if value >= 1e9
        else f"{value / 1e6:.1f} M"
        if value >= 1e6
        else f"{value:,.0f}"
    )


def _bytes(value: float) -> str:
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if value >= unit:
            return f"{value / unit:.1f} {name}"
    return f"{value / 1e3:.0f} kB"
