"""What a comparison will do, and its cost: trainings, each once however many trials ask for it; then
fine-tunings, and evaluations of the checkpoints that trainings keep.

Nothing is measured for a plan, and every job is named by a hash of what decides its result. So trials,
datasets and seeds may join a comparison later, and what is finished is never done again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model import tokenizer as tokenizers
from model.config import GPTConfig
from model.tokenizer import Tokenizer
from model.weights_config import read_config
from pipeline.config import identity_hash, identity_of, validate
from pipeline.errors import ConfigError
from pipeline.formats.manifest import NAME as MANIFEST
from pipeline.formats.manifest import Manifest
from pipeline.formats.subject import locate
from pipeline.study import finetuning, trials, watched
from pipeline.study import plan as plans
from pipeline.study.finetuning import FineTuning, Start
from pipeline.study.plan import PlannedRun
from pipeline.study.regimes import FLOPS_FORMULA
from pipeline.study.trials import Config, Trial
from pipeline.study.watched import Watched

FORMAT = 1
KIND = "comparison"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All jobs of a comparison; `missing` tells of what is not there to plan them by."""

    identity: Any
    trainings: tuple[PlannedRun, ...]
    finetunings: tuple[FineTuning, ...]
    watched: tuple[Watched, ...] = ()
    missing: tuple[str, ...] = ()
    flops_formula: str = FLOPS_FORMULA
    kind: str = KIND
    format: int = FORMAT

    @property
    def config_hash(self) -> str:
        """The hash of what is compared."""
        jobs = [*(job.name for job in self.finetunings), *(job.name for job in self.watched)]
        return identity_hash(self.identity, jobs=jobs)

    def as_json(self) -> dict[str, Any]:
        """Return the content of plan.json."""
        return {**asdict(self), "config_hash": self.config_hash}


def make(config: Config) -> Plan:
    """Return the plan; ConfigError for a training or a checkpoint that cannot be. Touches nothing."""
    labelled, missing = finetuning.labelled(config)
    sources = {trial.name: _Source.of(config, trial, missing) for trial in config.trials}
    trainings = {s.run.config_hash: s.run for s in reversed(sources.values()) if s.run}
    runs = {name: trainings[s.run.config_hash] if s.run else None for name, s in sources.items()}
    return Plan(
        identity=identity_of(config),
        trainings=tuple(reversed(trainings.values())),
        finetunings=tuple(
            finetuning.planned(
                config, trial.name, sources[trial.name].start(trial, runs[trial.name]), data, trial.finetune
            )
            for trial in config.trials
            for data in labelled
        ),
        watched=watched.planned(config, runs),
        missing=tuple(dict.fromkeys(missing)),
    )


def table(plan: Plan, config: Config) -> list[str]:
    """Return the plan as lines for people: trainings, fine-tunings, and what all of it costs."""
    lines = [_line(config, "training", "steps", "tokens", "FLOPs", "h")]
    for run in plan.trainings:
        steps = f"{-(-run.tokens // run.batch_tokens):,}"
        lines.append(_line(config, run.name, steps, f"{run.tokens:,}", f"{run.flops:.3g}", run.flops))
    if plan.finetunings:
        lines.append(_line(config, "fine-tuning, all seeds", "steps", "tokens", "FLOPs", "h"))
    for job in plan.finetunings:
        flops = "?" if job.flops is None else f"{job.flops:.3g}"
        lines.append(_line(config, job.name, f"{job.steps:,}", f"{job.tokens:,.0f}", flops, job.flops))
    for watch in plan.watched:
        of = "every checkpoint" if watch.checkpoints is None else f"{watch.checkpoints:,} checkpoints"
        lines.append(f"{watch.name:<44} {of}, without fine-tuning")
    return [*lines, _total(plan, config), *(f"not there yet: {what}" for what in plan.missing)]


def seconds_of(plan: Plan, config: Config) -> float | None:
    """Return how long trainings and then fine-tunings take by the speed that was measured, if one was."""
    groups: list[list[float | None]] = [
        [run.flops for run in plan.trainings],
        [job.flops for job in plan.finetunings],
    ]
    speed = config.flops_per_second
    if speed is None or any(flops is None for group in groups for flops in group):
        return None
    return sum(
        plans.makespan([(flops or 0) / speed for flops in group], config.processes) for group in groups
    )


@dataclass(frozen=True)
class _Source:
    """Where a trial starts: a hash of it, its training if it has one, shape and tokenizer where known."""

    hash: str
    run: PlannedRun | None
    shape: GPTConfig | None
    tokenizer: Tokenizer | None

    @classmethod
    def of(cls, config: Config, trial: Trial, missing: list[str]) -> _Source:
        if trial.train is None:
            assert trial.checkpoint is not None
            try:
                found = locate(trial.checkpoint)
            except ConfigError as fault:
                missing += fault.problems
                return cls("", None, None, None)
            return cls(found.weights_hash, None, _shape_in(found.model), _tokenizer_in(found.model))
        train = trials.training(config, trial)
        where = f"trials.{trial.name}.train"
        shape = validate(trials.Complete, {"model": train["model"]}, where).model
        assert config.data is not None
        there = (config.data / MANIFEST).is_file()
        if not there:
            missing.append(f"data: no dataset at {config.data}")
        manifest = Manifest.read(config.data) if there else None
        run = plans.describe_run(
            train,
            shape,
            rung=trial.name,
            arm="",
            data_hash=manifest.hash if manifest else "",
            data_tokens=manifest.tokens("train") if manifest else int(train["train_tokens"]),
        )
        return cls(run.config_hash, run, shape, manifest.load_tokenizer(config.data) if manifest else None)

    def start(self, trial: Trial, run: PlannedRun | None) -> Start:
        """Return where the fine-tunings of the trial start; `run` is the one that is trained for it."""
        return Start(
            hash=self.hash,
            training=run.name if run else None,
            checkpoint=str(trial.checkpoint) if trial.checkpoint else None,
            shape=self.shape,
            tokenizer=self.tokenizer,
        )


def _shape_in(folder: Path) -> GPTConfig | None:
    """Return the shape of a folder's network; None where the fine-tuning will say what is wrong with it."""
    try:
        return read_config(folder)
    except (FileNotFoundError, ValueError):
        return None


def _tokenizer_in(folder: Path) -> Tokenizer | None:
    try:
        return tokenizers.load(folder)
    except (FileNotFoundError, ValueError):
        return None  # the fine-tuning says what is wrong with it


def _total(plan: Plan, config: Config) -> str:
    total = sum(run.flops for run in plan.trainings) + sum(job.flops or 0.0 for job in plan.finetunings)
    seconds = seconds_of(plan, config)
    told = "" if seconds is None else f", about {seconds / 3600:.1f} h by the speed that was measured"
    parts = [f"{len(plan.trainings)} trainings"]
    if plan.watched:
        parts.append(f"the evaluation of {len(plan.watched)} runs, whose FLOPs are not counted")
    if plan.finetunings:
        parts.append(f"{len(plan.finetunings)} fine-tunings of {len(config.seeds)} seeds")
    return (
        f"{' and '.join(parts)}, about {total:.3g} FLOPs ({plan.flops_formula}), {config.processes} side by"
        f" side with {config.threads} thread(s) each{told}"
    )


def _line(config: Config, name: str, steps: str, tokens: str, flops: str, hours: float | str | None) -> str:
    """Return a line of the plan; `hours` is a heading, or the FLOPs that take them."""
    if not isinstance(hours, str):
        speed = config.flops_per_second
        hours = "?" if hours is None or speed is None else f"{hours / speed / 3600:.2f}"
    return f"{name:<44}{steps:>11}{tokens:>18}{flops:>11}{hours:>7}"
