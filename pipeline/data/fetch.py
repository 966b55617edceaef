"""Links become pages on disk, and every link gets a reason.

`pages/*.warc.gz` holds what was fetched, `pages/fetch-log.parquet` what became of each link. The links are
shared out by registered domain, so that one host is only ever one worker's. Killed at any moment, the same
command goes on, with as many workers as it then has, and asks again only for links without a whole record.
"""

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline.data.counts import PhaseCounts
from pipeline.data.crawl import fetchlog
from pipeline.data.crawl.config import FetchConfig
from pipeline.data.crawl.fetchlog import ELSEWHERE, STORED
from pipeline.data.crawl.share import fetch_share
from pipeline.data.execute import take_over
from pipeline.data.phase import PhaseRun
from pipeline.errors import StageError

__all__ = ["FetchConfig", "has_retries", "run"]

log = logging.getLogger("loglinear.data")


def run(config: FetchConfig, phase: PhaseRun) -> PhaseCounts:
    """Fetch the links of the dataset into its `pages`; goes on where it was killed. Counts links."""
    pages, links = phase.dataset / "pages", phase.dataset / "links"
    pages.mkdir(parents=True, exist_ok=True)
    if not (fetchlog.is_whole(pages, config.retry) and fetchlog.gaps(pages, links)[0] == 0):
        fetchlog.reopen(pages)
        _settle(config, phase)
        _crawl(config, phase)
        fetchlog.publish(pages)
    if strangers := fetchlog.gaps(pages, links)[1]:
        raise StageError(
            f"{pages}: {strangers} pages are of links that {links} no longer holds; choose another `out`, or "
            f"remove {pages} to fetch the links of today"
        )
    found, size = fetchlog.account(pages, links)
    total = sum(pq.ParquetFile(path).metadata.num_rows for path in links.glob("*.parquet"))
    dropped = {reason: n for reason, n in sorted(found.items()) if reason != STORED}
    return PhaseCounts(
        documents_in=total, documents_out=found[STORED], dropped=dropped, extra={"bytes": size}
    )


def has_retries(config: FetchConfig, dataset: Path) -> bool:
    """Tell whether a finished crawl left links that `retry` asks for again."""
    pages = dataset / "pages"
    return bool(config.retry) and fetchlog.is_whole(pages, ()) and not fetchlog.is_whole(pages, config.retry)


def _settle(config: FetchConfig, phase: PhaseRun) -> None:
    """Make one log of what earlier runs left, whoever of their workers wrote it."""
    # Which shares were complete says nothing to another number of workers; one that is run again finds
    # nothing to do.
    take_over(phase.work)
    shutil.rmtree(phase.work, ignore_errors=True)
    pages = phase.dataset / "pages"
    for rank in fetchlog.ranks(pages):
        with fetchlog.holding(pages, rank):
            fetchlog.recover(pages, rank)
    fetchlog.fold(pages, again=[ELSEWHERE, *config.retry])


def _crawl(config: FetchConfig, phase: PhaseRun) -> None:
    pages = phase.dataset / "pages"
    if config.workers == 1:
        fetch_share(config, phase.dataset, rank=0, world_size=1)
        fetchlog.fold(pages)
        return
    phase.run_tasks([_Share(config, phase.dataset)], config.workers)
    if elsewhere := fetchlog.fold(pages)[ELSEWHERE]:
        # Nobody else is at work any more: one worker may follow these wherever they lead.
        log.info("fetch: %d links led to hosts of other workers and are followed now", elsewhere)
        fetchlog.fold(pages, again=[ELSEWHERE])
        phase.run_tasks([_Share(config, phase.dataset)], 1, "elsewhere")
        fetchlog.fold(pages)


@dataclass
class _Share:
    """The one step of a task: a worker's share of the links."""

    config: FetchConfig
    dataset: Path

    def __call__(self, _data: Any, rank: int, world_size: int) -> None:
        """Fetch the share."""
        fetch_share(self.config, self.dataset, rank=rank, world_size=world_size)
