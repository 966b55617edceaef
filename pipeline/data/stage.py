"""The data stage: from links with votes to published token shards, phase by phase.

The same command again continues: a finished phase is skipped, an unfinished one goes on from its finished
tasks. A directory belongs to one configuration; another one in the same place is refused with the difference
shown.
"""

from __future__ import annotations

import errno
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pipeline import config as configuration
from pipeline.config import Kind, Schema, execution, identity
from pipeline.data.counts import PhaseCounts
from pipeline.data.decontaminate import DecontaminateConfig
from pipeline.data.dedup import DedupConfig, SplitsConfig
from pipeline.data.execute import ExecuteConfig, disk_full
from pipeline.data.fetch import FetchConfig
from pipeline.data.links import LinksConfig
from pipeline.data.marks import FOLDER, Mark, fingerprint, mark_path, valid_marks
from pipeline.data.phase import PhaseRun
from pipeline.errors import ConfigError, StageError
from pipeline.formats.lock import sole_writer
from pipeline.formats.manifest import NAME as MANIFEST
from pipeline.formats.publish import remove_leftovers, write_text

log = logging.getLogger("loglinear.data")


class Config(Schema):
    """A dataset: where its links come from, and what becomes of the pages behind them."""

    out: Path = execution(description="the dataset's directory")
    links: LinksConfig = identity()
    fetch: FetchConfig = identity()
    extract: Annotated[Any, Kind("pipeline.data.extractors")] = identity()
    max_lost_pages: float = execution(
        0.2, ge=0, le=1, description="share of pages without text that is an error"
    )
    filters: list[Annotated[Any, Kind("pipeline.data.filters")]] = identity([])
    dedup: DedupConfig = identity(DedupConfig())
    splits: SplitsConfig = identity(SplitsConfig())
    decontaminate: DecontaminateConfig = identity(DecontaminateConfig())
    tokenizer: Annotated[Any, Kind("pipeline.data.tokenizers")] = identity()
    shard_tokens: int = identity(100_000_000, ge=1, description="tokens in a shard, about")
    execute: ExecuteConfig = execution(ExecuteConfig())


@dataclass(frozen=True, kw_only=True)
class PlannedPhase:
    """One phase: what it is identified by, and its record if it is done."""

    name: str
    identity: str
    mark: Mark | None

    def __str__(self) -> str:
        state = "to do" if self.mark is None else f"done in {self.mark.seconds:.1f} s"
        return f"{self.name:<14} {self.identity}  {state}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All phases in order; those that are done come first."""

    phases: tuple[PlannedPhase, ...]

    def __str__(self) -> str:
        return "\n".join(map(str, self.phases))

    @property
    def is_done(self) -> bool:
        """Return whether nothing is left to do."""
        return all(phase.mark for phase in self.phases)


def plan(config: Config) -> Plan:
    """Return what is done and what will run; ConfigError if `out` holds a dataset of another identity."""
    check_identity(config)
    identities = []
    before = ""
    for phase in PHASES:
        before = configuration.identity_hash(phase.sections(config), phase=phase.name, before=before)
        identities.append((phase.name, before))
    marks = {mark.phase: mark for mark in valid_marks(config.out, identities)}
    if not (config.out / MANIFEST).is_file():
        marks.pop(PHASES[-1].name, None)  # to publish is to write the manifest
    phases = (PlannedPhase(name=name, identity=each, mark=marks.get(name)) for name, each in identities)
    return Plan(phases=tuple(phases))


def run(config: Config, planned: Plan, only: str | None = None, until: str | None = None) -> None:
    """Run the phases that are not done: all, `only` one of them, or those up to and including `until`.

    Raises StageError if a phase fails or the disk is full; finished phases stay whole in either case.
    """
    chosen = choose(planned, only, until)
    if all(phase.mark for phase in chosen):
        log.info(
            "%s: %s already done, nothing to do",
            config.out,
            "dataset" if planned.is_done else chosen[-1].name,
        )
        return
    (config.out / FOLDER).mkdir(parents=True, exist_ok=True)
    refusal = f"{config.out}: another process is building this dataset; wait for it or stop it"
    with sole_writer(config.out / FOLDER / "lock", refusal):
        remove_leftovers(config.out)
        write_text(config.out / "config.yaml", configuration.dump(config))
        # Planned anew: another process may have finished a phase while this one waited for the lock.
        for phase in choose(plan(config), only, until):
            _run_phase(config, phase)


def describe(config: Config, plan: Plan) -> str:
    """Return what `--dry-run` prints below the configuration."""
    return f"{config.out}\n{plan}"


def choose(plan: Plan, only: str | None, until: str | None) -> tuple[PlannedPhase, ...]:
    """Return the phases that were asked for; ConfigError for an unknown name, or one that earlier phases hold
    up.
    """
    names = [phase.name for phase in plan.phases]
    for asked in filter(None, (only, until)):
        if asked not in names:
            near = configuration.did_you_mean(asked, names)
            raise ConfigError(f"no phase {asked!r}{near}; the phases are {', '.join(names)}")
    if only:
        missing = [phase.name for phase in plan.phases[: names.index(only)] if not phase.mark]
        if missing:
            raise ConfigError(
                f"--only {only}: not yet done before it: {', '.join(missing)}; try --until {only}"
            )
        return (plan.phases[names.index(only)],)
    return plan.phases[: names.index(until) + 1] if until else plan.phases


def check_identity(config: Config) -> None:
    """Raise ConfigError if the directory belongs to another identity; log changed execution fields."""
    path = config.out / "config.yaml"
    if not path.is_file():
        return
    earlier = configuration.load(Config, path)
    changed = configuration.differences(configuration.identity_of(earlier), configuration.identity_of(config))
    if changed:
        remedy = f"{config.out} holds a dataset of another configuration; choose another `out`, or remove it"
        raise ConfigError([*(f"{path}: {line}" for line in changed), remedy])
    for line in configuration.differences(configuration.plain(earlier), configuration.plain(config)):
        log.info("changed since the last start: %s", line)


@dataclass(frozen=True)
class _Phase:
    """A phase: the parts of the configuration that decide its result, and how it is run."""

    name: str
    sections: Callable[[Config], list[Any]]
    run: Callable[[Config, PhaseRun], PhaseCounts]


def _links(config: Config, phase: PhaseRun) -> PhaseCounts:
    from pipeline.data import links

    return links.run(config.links, phase.dataset)


def _fetch(config: Config, phase: PhaseRun) -> PhaseCounts:
    from pipeline.data import fetch

    return fetch.run(config.fetch, phase.dataset)


def _extract(config: Config, phase: PhaseRun) -> PhaseCounts:
    from pipeline.data import extract

    return extract.run(config.extract, config.max_lost_pages, phase)


def _filter(config: Config, phase: PhaseRun) -> PhaseCounts:
    from pipeline.data import filter

    return filter.run(config.filters, phase)


def _dedup(config: Config, phase: PhaseRun) -> PhaseCounts:
    from pipeline.data import dedup

    return dedup.run(config.dedup, config.splits, phase)


def _decontaminate(config: Config, phase: PhaseRun) -> PhaseCounts:
    from pipeline.data import decontaminate

    return decontaminate.run(config.decontaminate, phase)


def _tokenize(config: Config, phase: PhaseRun) -> PhaseCounts:
    from pipeline.data import tokenize

    return tokenize.run(config.tokenizer, config.shard_tokens, phase)


def _publish(config: Config, phase: PhaseRun) -> PhaseCounts:
    from pipeline.data import publish

    marks = [each.mark for each in plan(config).phases if each.mark]
    return publish.run(phase.dataset, [mark.row for mark in marks], configuration.identity_hash(config))


PHASES = (
    _Phase("links", lambda config: [config.links], _links),
    _Phase("fetch", lambda config: [config.fetch], _fetch),
    _Phase("extract", lambda config: [config.extract], _extract),
    _Phase("filter", lambda config: [config.filters], _filter),
    _Phase("dedup", lambda config: [config.dedup, config.splits], _dedup),
    _Phase("decontaminate", lambda config: [config.decontaminate], _decontaminate),
    _Phase("tokenize", lambda config: [config.tokenizer, config.shard_tokens], _tokenize),
    _Phase("publish", lambda _: [], _publish),
)
_SOURCES = {
    "filter": "documents",
    "dedup": "kept/filter",
    "decontaminate": "kept/dedup",
    "tokenize": "kept/decontaminate",
}


def _run_phase(config: Config, planned: PlannedPhase) -> None:
    """Run one phase unless it is done, check its account, and mark it."""
    number = [phase.name for phase in PHASES].index(planned.name)
    previous = PHASES[number - 1].name if number else None
    if planned.mark is not None:
        log.info("%s: already done (%s)", planned.name, _told(planned.mark.account))
        return
    after = fingerprint(config.out, previous)
    phase = PhaseRun(
        name=planned.name,
        dataset=config.out,
        source=config.out / _SOURCES.get(planned.name, ""),
        work=config.out / FOLDER / f"{planned.name}-{planned.identity}-{after}",
        execute=config.execute,
    )
    _clear_stale(phase)
    start = time.monotonic()
    try:
        counts = PHASES[number].run(config, phase)
    except OSError as fault:
        if fault.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StageError(disk_full(planned.name, config.out)) from None
        raise
    counts.check(planned.name)
    _check_against_previous(config, previous, planned.name, counts)
    seconds = round(time.monotonic() - start, 2)
    mark = Mark(
        phase=planned.name, identity=planned.identity, after=after, seconds=seconds, counts=counts.to_json()
    )
    mark.write(config.out)
    shutil.rmtree(phase.work, ignore_errors=True)
    log.info("%s: %s in %.1f s", planned.name, _told(counts), seconds)


def _clear_stale(phase: PhaseRun) -> None:
    """Remove what another configuration or input of this phase left, unless this very work has begun."""
    (phase.dataset / MANIFEST).unlink(missing_ok=True)  # the dataset is whole no more
    names = [each.name for each in PHASES]
    for name in names[names.index(phase.name) :]:
        mark_path(phase.dataset, name).unlink(missing_ok=True)
    if phase.work.exists() or phase.name in ("links", "fetch"):
        return  # links and fetch know their own files: what was fetched once is not fetched again
    for stale in (phase.dataset / FOLDER).glob(f"{phase.name}-*-*"):
        shutil.rmtree(stale)
    outputs = {"extract": "documents", "tokenize": "shards"}
    for folder in (phase.dataset / outputs.get(phase.name, f"kept/{phase.name}"), phase.dropped):
        shutil.rmtree(folder, ignore_errors=True)
    phase.work.mkdir(parents=True)


def _check_against_previous(config: Config, previous: str | None, name: str, counts: PhaseCounts) -> None:
    """Raise StageError unless a phase took in what the one before gave out."""
    before = next((each.mark for each in plan(config).phases if each.name == previous), None)
    if before is not None and before.account.documents_out != counts.documents_in:
        raise StageError(
            f"{name}: {before.phase} gave out {before.account.documents_out}, but {counts.documents_in} came "
            f"in: a file of {before.phase} is cut off or missing; remove "
            f"{mark_path(config.out, before.phase)} to run {before.phase} again"
        )


def _told(counts: PhaseCounts) -> str:
    dropped = sorted(counts.dropped.items(), key=lambda item: -item[1])
    reasons = ", ".join(f"{reason} {number:,}" for reason, number in dropped[:6])
    return f"{counts.documents_in:,} in, {counts.documents_out:,} out" + (
        f" (dropped: {reasons})" if reasons else ""
    )
