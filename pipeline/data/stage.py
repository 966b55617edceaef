"""The data stage: from links, pages or documents to published token shards, phase by phase.

The same command again continues: a finished phase is skipped, an unfinished one goes on from its finished
tasks. A directory belongs to one configuration; another one in the same place is refused with the difference
shown.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import model_validator

from pipeline import config as configuration
from pipeline.config import Kind, Schema, execution, identity
from pipeline.data import estimate, fetch
from pipeline.data.commoncrawl import CommonCrawlConfig
from pipeline.data.counts import PhaseCounts
from pipeline.data.crawl.config import FetchConfig
from pipeline.data.decontaminate import DecontaminateConfig
from pipeline.data.dedup import DedupConfig, SplitsConfig
from pipeline.data.execute import ExecuteConfig, disk_full, take_over
from pipeline.data.inputs import fingerprints
from pipeline.data.links import LinksConfig
from pipeline.data.marks import FOLDER, Mark, fingerprint, mark_path, valid_marks
from pipeline.data.phase import PhaseRun
from pipeline.data.phases import Phase, wanted
from pipeline.data.wikipedia import WikipediaConfig
from pipeline.errors import ConfigError, StageError
from pipeline.formats.lock import sole_writer
from pipeline.formats.manifest import NAME as MANIFEST
from pipeline.formats.publish import is_full_disk, make_directory, remove_leftovers, write_text

log = logging.getLogger("loglinear.data")


class Config(Schema):
    """A dataset: where its documents come from (one of three sources), and what becomes of them.

    Links with votes (`links`, then `commoncrawl`, `fetch` or both, then `extract`), WARC files (`paths` and
    `extract`), or documents of one's own (`read`, mostly with `paths`).
    """

    out: Path = execution(description="the dataset's directory")
    links: LinksConfig | None = identity(None)
    commoncrawl: CommonCrawlConfig | None = identity(None)
    fetch: FetchConfig | None = identity(None)
    paths: list[str] = identity([], description="WARC or document files; paths, folders or glob patterns")
    extract: Annotated[Any, Kind("pipeline.data.extractors")] | None = identity(None)
    max_lost_pages: float = execution(
        0.2, ge=0, le=1, description="share of pages without text that is an error"
    )
    read: Annotated[Any, Kind("pipeline.data.readers")] | None = identity(None)
    filters: list[Annotated[Any, Kind("pipeline.data.filters")]] = identity([])
    wikipedia: WikipediaConfig | None = identity(None)
    remove: Path | None = execution(None, description="take-down requests: a URL or domain a line")
    dedup: DedupConfig = identity(DedupConfig())
    splits: SplitsConfig = identity(SplitsConfig())
    decontaminate: DecontaminateConfig = identity(DecontaminateConfig())
    tokenizer: Annotated[Any, Kind("pipeline.data.tokenizers")] = identity()
    span_tokens: int | None = identity(
        None, ge=2, description="cut documents to whole spans of so many tokens (GPT-1: 512)"
    )
    shard_tokens: int = identity(100_000_000, ge=1, description="tokens in a shard, about")
    execute: ExecuteConfig = execution(ExecuteConfig())

    @model_validator(mode="after")
    def _has_one_source(self) -> Config:
        crawls = self.commoncrawl is not None or self.fetch is not None
        if self.links is not None and not (crawls and self.extract is not None):
            raise ValueError("links want `fetch` or `commoncrawl` (or both), and `extract`")
        if self.links is None and crawls:
            raise ValueError("`fetch` and `commoncrawl` want `links`; for WARC files give `paths` alone")
        if self.read is not None and (self.links is not None or self.extract is not None):
            raise ValueError(
                "`read` takes documents; `links` and `extract` belong to pages: give one of both"
            )
        if self.read is None and self.extract is None:
            raise ValueError(
                "no source: give `links`, or `paths` with `extract` (WARC files) or with `read` (documents)"
            )
        if self.links is not None and self.paths:
            raise ValueError("`paths` and `links` are two sources; give one of them")
        if self.links is None and self.extract is not None and not self.paths:
            raise ValueError("`extract` wants pages: give `links`, or WARC files as `paths`")
        return self


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
    expected = []
    before = ""
    for phase in wanted(config):
        before = configuration.identity_hash(phase.sections(config), phase=phase.name, before=before)
        expected.append((phase.name, before, _inputs(phase, config)))
    marks = {mark.phase: mark for mark in valid_marks(config.out, expected)}
    names = [name for name, _, _ in expected]
    if config.fetch is not None and fetch.has_retries(config.fetch, config.out):
        marks = {name: marks[name] for name in names[: names.index("fetch")] if name in marks}
    if not (config.out / MANIFEST).is_file():
        marks.pop(names[-1], None)  # to publish is to write the manifest
    phases = (PlannedPhase(name=name, identity=each, mark=marks.get(name)) for name, each, _ in expected)
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
    _refuse_missing(config, chosen)
    make_directory(config.out / FOLDER)
    refusal = f"{config.out}: another process is building this dataset; wait for it or stop it"
    with sole_writer(config.out / FOLDER / "lock", refusal):
        remove_leftovers(config.out)
        write_text(config.out / "config.yaml", configuration.dump(config))
        write_text(config.out / FOLDER / "order.txt", "\n".join(phase.name for phase in planned.phases))
        # Planned anew: another process may have finished a phase while this one waited for the lock.
        for phase in choose(plan(config), only, until):
            _run_phase(config, phase)


def describe(config: Config, plan: Plan) -> str:
    """Return what `--dry-run` prints below the configuration."""
    return f"{config.out}\n{plan}\n\n{estimate.describe(config)}"


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
    try:
        earlier = configuration.load(Config, path)
    except ConfigError as fault:
        remedy = f"{path}: not as this dataset's build wrote it; restore it, or choose another `out`"
        raise ConfigError([*fault.problems, remedy]) from None
    changed = configuration.differences(configuration.identity_of(earlier), configuration.identity_of(config))
    if earlier.remove is not None and config.remove is None:
        changed.append(
            f"remove: {earlier.remove} -> null; take-down requests stay in force: give the file again"
        )
    if changed:
        remedy = f"{config.out} holds a dataset of another configuration; choose another `out`, or remove it"
        raise ConfigError([*(f"{path}: {line}" for line in changed), remedy])
    for line in configuration.differences(configuration.plain(earlier), configuration.plain(config)):
        log.info("changed since the last start: %s", line)


def _run_phase(config: Config, planned: PlannedPhase) -> None:
    """Run one phase unless it is done, check its account, and mark it."""
    phases = wanted(config)
    number = [phase.name for phase in phases].index(planned.name)
    previous = phases[number - 1].name if number else None
    if planned.mark is not None:
        log.info("%s: already done (%s)", planned.name, _told(planned.mark.account))
        return
    after = fingerprint(config.out, previous)
    phase = PhaseRun(
        name=planned.name,
        dataset=config.out,
        source=config.out / next((each.output for each in reversed(phases[:number]) if each.output), ""),
        work=config.out / FOLDER / f"{planned.name}-{planned.identity}-{after}",
        execute=config.execute,
    )
    _clear_stale(phases[number:], phase)
    inputs = _inputs(phases[number], config)  # before the work: what changes meanwhile is a change
    start = time.monotonic()
    try:
        counts = phases[number].run(config, phase)
    except Exception as fault:
        if is_full_disk(fault):
            raise StageError(disk_full(planned.name, config.out)) from None
        raise
    counts.check(planned.name)
    _check_against_previous(config, previous, planned.name, counts)
    if not counts.documents_out:
        raise StageError(f"{planned.name}: nothing is left: {_told(counts)}; look into {phase.dropped}")
    seconds = round(time.monotonic() - start, 2)
    mark = Mark(
        phase=planned.name,
        identity=planned.identity,
        after=after,
        inputs=inputs,
        seconds=seconds,
        counts=counts.to_json(),
    )
    mark.write(config.out)
    shutil.rmtree(phase.work, ignore_errors=True)
    log.info("%s: %s in %.1f s", planned.name, _told(counts), seconds)


def _refuse_missing(config: Config, chosen: Sequence[PlannedPhase]) -> None:
    """Raise ConfigError, naming all, for files outside the dataset that a phase to be done could not use.

    The last phase would find it out too, days later.
    """
    to_do = {planned.name for planned in chosen if planned.mark is None}
    problems: list[str] = []
    for phase in wanted(config):
        try:
            phase.inputs(config) if phase.name in to_do else ()
        except ConfigError as fault:
            problems += fault.problems
    if problems:
        raise ConfigError(problems)


def _inputs(phase: Phase, config: Config) -> dict[str, str]:
    """Return the fingerprints of a phase's input files; empty where they are not there (any more)."""
    try:
        return fingerprints(phase.inputs(config))
    except ConfigError:
        return {}  # the phase itself says what is missing, if it has to run


def _clear_stale(phases: Sequence[Phase], run: PhaseRun) -> None:
    """Remove what another configuration or input of this phase (the first of `phases`) left, unless this very
    work has begun.
    """
    (run.dataset / MANIFEST).unlink(missing_ok=True)  # the dataset is whole no more
    for each in phases:
        mark_path(run.dataset, each.name).unlink(missing_ok=True)
    phase = phases[0]
    if run.work.exists():
        return
    for stale in (run.dataset / FOLDER).glob(f"{phase.name}-*-*"):
        take_over(stale)
        shutil.rmtree(stale)
    if not phase.resumes_itself:
        shutil.rmtree(run.dropped, ignore_errors=True)
        if phase.output:
            shutil.rmtree(run.dataset / phase.output, ignore_errors=True)
    run.work.mkdir(parents=True)  # last: it says that nothing stale is left


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
