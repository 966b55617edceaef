"""Pages from Common Crawl: links are looked up in its index, and their records are copied out of its archive.

`pages/cc-*.warc.gz` holds what was found, `pages/commoncrawl-log.parquet` a row for each. A link that is not
there, or whose record cannot be read, is left to the live fetch, if one follows. Killed at any moment, the
same command goes on: nothing that is whole is asked for again.
"""

import importlib.util
from collections import Counter
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any, cast

import orjson
import pyarrow.parquet as pq

from pipeline.data.archive.config import WEB, CommonCrawlConfig
from pipeline.data.archive.copying import copy, http_ranges
from pipeline.data.archive.httpfiles import http_files
from pipeline.data.archive.index import Lookup, database, index_files, local_files, read_list, rows
from pipeline.data.archive.records import SOURCE
from pipeline.data.counts import PhaseCounts
from pipeline.data.crawl import fetchlog
from pipeline.data.crawl.addresses import AddressPolicy
from pipeline.data.crawl.fetchlog import STORED, Row
from pipeline.data.phase import PhaseRun
from pipeline.data.url import UrlError, target
from pipeline.errors import ConfigError
from pipeline.formats.publish import publishing, read_json, remove_leftovers, write_json

__all__ = ["CommonCrawlConfig", "inputs", "run"]

NOT_THERE = "not-in-common-crawl"


def inputs(config: CommonCrawlConfig) -> list[Path]:
    """Return the index files that are on this machine. Raises ConfigError."""
    return local_files(config.index)


def run(config: CommonCrawlConfig, phase: PhaseRun, fetch_follows: bool) -> PhaseCounts:
    """Copy what Common Crawl has of the links of `links/` into `pages/`; goes on where it was killed.

    Counts links. If a fetch follows, none is dropped here, and `extra` says how many were served; otherwise
    those that were not are dropped under their reasons, and this writes `fetch-log.parquet`.
    """
    pages = phase.dataset / "pages"
    pages.mkdir(parents=True, exist_ok=True)
    remove_leftovers(pages)
    journal, account = pages / "commoncrawl-journal.jsonl", pages / "commoncrawl.json"
    if account.exists():
        told = read_json(account)
        if told["work"] == phase.work.name:
            journal.unlink(missing_ok=True)
            return PhaseCounts.from_json(told["counts"])
        _reopen(pages, journal, account)
    _check_contact(config)
    chosen = _look_up(config, phase)
    fetchlog.recover_journal(journal, sorted(pages.glob("cc-*.warc.gz")))
    fetchlog.write_done(journal, phase.work / "done.parquet")
    copy(config, pages, chosen, phase.work / "done.parquet", journal)
    counts = _publish(config, phase, chosen, journal, fetch_follows)
    write_json(account, {"work": phase.work.name, "counts": counts.to_json()})
    journal.unlink()
    return counts


def _reopen(pages: Path, journal: Path, account: Path) -> None:
    """Make a log a journal again: the links are others now, or the index is, but pages are still pages."""
    log = pages / fetchlog.COMMONCRAWL
    with publishing(journal) as draft, draft.open("wb") as lines:
        for batch in pq.ParquetFile(log, page_checksum_verification=True).iter_batches():
            lines.writelines(orjson.dumps(row) + b"\n" for row in batch.to_pylist())
    account.unlink()
    log.unlink()


def _check_contact(config: CommonCrawlConfig) -> None:
    """Raise ConfigError for public servers that are not told whom they could reach, and for odd URLs."""
    if config.files.startswith("s3://"):
        raise ConfigError("commoncrawl.files: records are read over https or from a folder, not from s3")
    policy = AddressPolicy(config.allow)
    for url in filter(lambda each: each.startswith(WEB), [config.files, *config.index]):
        try:
            place = target(url)
        except UrlError as fault:
            raise ConfigError(f"commoncrawl: {fault}") from None
        if not config.has_contact and not policy.is_private_crawl(place.host, place.port):
            raise ConfigError(
                f"commoncrawl.contact: {config.contact!r} is no address, and {place.host} is a public "
                "server; give the URL of a page about this work or an e-mail address"
            )


def _look_up(config: CommonCrawlConfig, phase: PhaseRun) -> Path:
    """Return the captures to copy, as a Parquet file."""
    lookup = Lookup(
        phase.dataset / "links",
        phase.work / "index",
        prefer=config.prefer,
        before=config.before,
        memory_limit=config.memory_limit,
    )
    with ExitStack() as stack:
        s3 = _s3() if any(each.startswith("s3://") for each in config.index) else None
        web = stack.enter_context(http_files(http_ranges(config)))
        files = index_files(config.index, config.files, lambda url: read_list(web, url), s3)
        return lookup.run(files, [web, s3] if s3 else [web])


def _s3() -> Any:
    if importlib.util.find_spec("s3fs") is None:
        raise ConfigError("commoncrawl.index: s3:// needs s3fs: pip install s3fs, or give https:// URLs")
    from s3fs import S3FileSystem

    return S3FileSystem()


def _publish(
    config: CommonCrawlConfig, phase: PhaseRun, chosen: Path, journal: Path, fetch_follows: bool
) -> PhaseCounts:
    """Write the logs; returns the account of the phase."""
    pages, links = phase.dataset / "pages", str(phase.dataset / "links" / "*.parquet")
    fetchlog.write_log(
        pages / fetchlog.COMMONCRAWL,
        (row for row in fetchlog.rows(journal) if row["reason"] == STORED),
    )
    found = Counter(row["reason"] for row in fetchlog.rows(journal))
    with database(phase.work, config.memory_limit) as connection:
        total = connection.execute("SELECT count(*) FROM read_parquet(?)", [links]).fetchall()[0][0]
        found[NOT_THERE] = total - found.total()
        if not fetch_follows:
            missing = connection.sql(
                "SELECT url, canonical_url FROM read_parquet($1) AS link WHERE NOT EXISTS (FROM "
                "read_parquet($2) AS chosen WHERE chosen.canonical_url = link.canonical_url)",
                params=[links, str(chosen)],
            )
            unserved = (cast(Row, {**row, "reason": NOT_THERE, "source": SOURCE}) for row in rows(missing))
            fetchlog.write_log(pages / fetchlog.NAME, chain(fetchlog.rows(journal), unserved))
    served = found.pop(STORED, 0)
    missed = {reason: n for reason, n in sorted(found.items()) if n}
    if fetch_follows:
        return PhaseCounts(
            documents_in=total, documents_out=total, extra={"served": served, "missed": missed}
        )
    return PhaseCounts(documents_in=total, documents_out=served, dropped=missed)
