"""The phases of the data stage, in order: when each is there, what decides its result, and how it is run.

A source (links with votes, WARC files, documents of one's own) brings its own first phases; from the filters
on the road is the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from pipeline.data.counts import PhaseCounts
from pipeline.data.inputs import matching
from pipeline.data.phase import PhaseRun

# A `stage.Config`. A phase's functions are called only where its sections are there, which no type can say.
Config: TypeAlias = Any


@dataclass(frozen=True)
class Phase:
    """A pass over the data.

    `sections` are the parts of the configuration that decide its result, `inputs` the files outside the
    dataset that do; `output` is the folder of what it leaves to the phases after it.
    """

    name: str
    is_wanted: Callable[[Config], bool]
    sections: Callable[[Config], list[Any]]
    run: Callable[[Config, PhaseRun], PhaseCounts]
    inputs: Callable[[Config], Sequence[Path]] = lambda _: ()
    output: str | None = None
    resumes_itself: bool = False  # knows its own files: what was fetched once is not fetched again


def wanted(config: Config) -> list[Phase]:
    """Return the phases of a configuration."""
    return [phase for phase in PHASES if phase.is_wanted(config)]


def _links_run(config: Config, phase: PhaseRun) -> PhaseCounts:
    from pipeline.data import links

    return links.run(config.links, phase.dataset)


def _links_inputs(config: Config) -> Sequence[Path]:
    from pipeline.data import links

    return links.inputs(config.links)


def _commoncrawl_run(config: Config, phase: PhaseRun) -> PhaseCounts:
    from pipeline.data import commoncrawl

    return commoncrawl.run(config.commoncrawl, phase, fetch_follows=config.fetch is not None)


def _commoncrawl_inputs(config: Config) -> Sequence[Path]:
    from pipeline.data import commoncrawl

    return commoncrawl.inputs(config.commoncrawl)


def _fetch_run(config: Config, phase: PhaseRun) -> PhaseCounts:
    from pipeline.data import fetch

    return fetch.run(config.fetch, phase)


def _extract_run(config: Config, phase: PhaseRun) -> PhaseCounts:
    from pipeline.data import extract
    from pipeline.data.stored import pages

    if config.links is None:
        warcs = matching("paths", config.paths)
    else:
        pages.check_sizes(phase.dataset / "pages")
        warcs = sorted((phase.dataset / "pages").glob("*.warc.gz"))
    return extract.run(config.extract, config.max_lost_pages, warcs, phase)


def _extract_inputs(config: Config) -> Sequence[Path]:
    return matching("paths", config.paths) if config.links is None else ()


def _read_run(config: Config, phase: PhaseRun) -> PhaseCounts:
    from pipeline.data import read

    return read.run(config.read, matching("paths", config.paths), phase)


def _filter_run(config: Config, phase: PhaseRun) -> PhaseCounts:
    from pipeline.data import filter

    return filter.run(config.filters, phase)


def _filter_inputs(config: Config) -> Sequence[Path]:
    from pipeline.data import filter

    return filter.inputs(config.filters)


def _wikipedia_run(config: Config, phase: PhaseRun) -> PhaseCounts:
    from pipeline.data import wikipedia

    return wikipedia.run(config.wikipedia, phase)


def _wikipedia_inputs(config: Config) -> Sequence[Path]:
    from pipeline.data import wikipedia

    return wikipedia.inputs(config.wikipedia)


def _remove_run(config: Config, phase: PhaseRun) -> PhaseCounts:
    from pipeline.data import remove

    return remove.run(config.remove, phase)


def _dedup_run(config: Config, phase: PhaseRun) -> PhaseCounts:
    from pipeline.data import dedup

    return dedup.run(config.dedup, config.splits, phase)


def _dedup_inputs(config: Config) -> Sequence[Path]:
    from pipeline.data import dedup

    return dedup.inputs(config.dedup)


def _decontaminate_run(config: Config, phase: PhaseRun) -> PhaseCounts:
    from pipeline.data import decontaminate

    return decontaminate.run(config.decontaminate, phase)


def _decontaminate_inputs(config: Config) -> Sequence[Path]:
    from pipeline.data import decontaminate

    return decontaminate.inputs(config.decontaminate)


def _tokenize_run(config: Config, phase: PhaseRun) -> PhaseCounts:
    from pipeline.data import tokenize

    return tokenize.run(config.tokenizer, config.shard_tokens, config.span_tokens, phase)


def _publish_run(config: Config, phase: PhaseRun) -> PhaseCounts:
    from pipeline import config as configuration
    from pipeline.data import publish, stage

    marks = [each.mark for each in stage.plan(config).phases if each.mark]
    return publish.run(phase.dataset, [mark.row for mark in marks], configuration.identity_hash(config))


PHASES = (
    Phase(
        "links",
        lambda config: config.links is not None,
        lambda config: [config.links],
        _links_run,
        _links_inputs,
        resumes_itself=True,
    ),
    Phase(
        "commoncrawl",
        lambda config: config.commoncrawl is not None,
        lambda config: [config.commoncrawl],
        _commoncrawl_run,
        _commoncrawl_inputs,
        resumes_itself=True,
    ),
    Phase(
        "fetch",
        lambda config: config.fetch is not None,
        lambda config: [config.fetch],
        _fetch_run,
        resumes_itself=True,
    ),
    Phase(
        "extract",
        lambda config: config.extract is not None,
        lambda config: [config.extract],
        _extract_run,
        _extract_inputs,
        output="documents",
    ),
    Phase(
        "read",
        lambda config: config.read is not None,
        lambda config: [config.read],
        _read_run,
        lambda config: matching("paths", config.paths),
        output="documents",
    ),
    Phase(
        "filter",
        lambda config: bool(config.filters),
        lambda config: [config.filters],
        _filter_run,
        _filter_inputs,
        output="kept/filter",
    ),
    Phase(
        "wikipedia",
        lambda config: config.wikipedia is not None,
        lambda config: [config.wikipedia],
        _wikipedia_run,
        _wikipedia_inputs,
        output="kept/wikipedia",
    ),
    Phase(
        "remove",
        lambda config: config.remove is not None,
        lambda _: [],
        _remove_run,
        lambda config: matching("remove", [str(config.remove)]),
        output="kept/remove",
    ),
    Phase(
        "dedup",
        lambda _: True,
        lambda config: [config.dedup, config.splits],
        _dedup_run,
        _dedup_inputs,
        output="kept/dedup",
    ),
    Phase(
        "decontaminate",
        lambda _: True,
        lambda config: [config.decontaminate],
        _decontaminate_run,
        _decontaminate_inputs,
        output="kept/decontaminate",
    ),
    Phase(
        "tokenize",
        lambda _: True,
        lambda config: [config.tokenizer, config.shard_tokens, config.span_tokens],
        _tokenize_run,
        output="shards",
    ),
    Phase("publish", lambda _: True, lambda _: [], _publish_run),
)
