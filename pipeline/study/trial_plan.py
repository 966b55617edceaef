"""What a comparison will do, and its cost: trainings, each once however many trials ask for it; then
fine-tunings, and evaluations of the checkpoints that trainings keep.

Nothing is measured for a plan, and every job is named by a hash of what decides its result. So trials,
datasets and seeds may join a comparison later, and what is finished is never done again.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model import tokenizer as tokenizers
from model.config import GPTConfig, flops_per_token
from model.tokenizer import Tokenizer
from model.weights_config import read_config
from pipeline.config import identity_hash, identity_of, kind_name, plain, validate
from pipeline.errors import ConfigError
from pipeline.formats.manifest import NAME as MANIFEST
from pipeline.formats.manifest import Manifest
from pipeline.formats.subject import locate
from pipeline.study import plan as plans
from pipeline.study import trials, watched
from pipeline.study.plan import PlannedRun
from pipeline.study.regimes import FLOPS_FORMULA
from pipeline.study.trials import Config, Trial
from pipeline.study.watched import Watched

FORMAT = 1
KIND = "comparison"
EXECUTION_KEYS = (
    *trials.DECIDED,
    "check_sums",
    "engine",
    "micro_batch_examples",
    "checkpoint_every_steps",
    "log_every_steps",
    "watchdog",
    "trackers",
)
"""What a fine-tuning's configuration may say about how it is carried out without becoming another one."""
EPOCHS, BATCH = 3, 32  # those of `loglinear finetune`, where a configuration does not say
SPECIAL_TOKENS = 3
MEASURED_EXAMPLES = 500  # spread over a split, for its mean length


@dataclass(frozen=True)
class Labelled:
    """The validation and training examples of a dataset, as a plan counts them."""

    name: str
    kind: str
    metric: str
    train: Sequence[Any]
    validation: Sequence[Any]
    sha256: str


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """One job: all seeds of a trial on a dataset; `training` names the run it starts from, if any.

    Steps, tokens (about) and FLOPs (about) are of all seeds.
    """

    name: str
    trial: str
    dataset: str
    metric: str
    checkpoint: str | None
    training: str | None
    seeds: tuple[int, ...]
    steps: int
    tokens: float
    flops: float | None
    finetune: dict[str, Any]


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
    missing: list[str] = []
    labelled = []
    for chosen in config.datasets:
        try:
            labelled.append(_read(config, chosen))
        except ConfigError as fault:  # the set is not there
            missing += fault.problems
    sources = {trial.name: _Source.of(config, trial, missing) for trial in config.trials}
    trainings = {s.run.config_hash: s.run for s in reversed(sources.values()) if s.run}
    runs = {name: trainings[s.run.config_hash] if s.run else None for name, s in sources.items()}
    return Plan(
        identity=identity_of(config),
        trainings=tuple(reversed(trainings.values())),
        finetunings=tuple(
            _finetuning(config, trial, sources[trial.name], runs[trial.name], data)
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


def _read(config: Config, chosen: Any) -> Labelled:
    """Return the examples of a dataset that the comparison learns from and judges by."""
    dataset = chosen.build()
    train, validation = (dataset.read(split, config.labelled) for split in ("train", "validation"))
    return Labelled(
        name=kind_name(chosen),
        kind=dataset.kind,
        metric=dataset.metrics[0],
        train=train.examples,
        validation=validation.examples,
        sha256=f"{train.sha256} {validation.sha256}",
    )


def _finetuning(
    config: Config, trial: Trial, source: _Source, run: PlannedRun | None, data: Labelled
) -> FineTuning:
    """Return the job of a trial on a dataset."""
    chosen = next(each for each in config.datasets if kind_name(each) == data.name)
    finetune = trials.fine_tuning(config, trial)
    decisive = {key: value for key, value in finetune.items() if key not in EXECUTION_KEYS}
    digest = identity_hash(decisive, dataset=plain(chosen), data=data.sha256, start=source.hash)
    limit, seeds = finetune.get("limit"), len(config.seeds)
    epochs = int(finetune.get("epochs", EPOCHS))
    batch = int(finetune.get("batch_examples", BATCH))
    examples = min(len(data.train), limit or len(data.train))
    judged = min(len(data.validation), limit or len(data.validation))
    length = _length(data, source.tokenizer, source.shape, finetune.get("max_tokens"))
    return FineTuning(
        name=f"{trial.name}-{data.name}-{digest[:8]}",
        trial=trial.name,
        dataset=data.name,
        metric=data.metric,
        checkpoint=str(trial.checkpoint) if trial.checkpoint else None,
        training=run.name if run else None,
        seeds=config.seeds,
        steps=seeds * epochs * -(-examples // batch),
        tokens=seeds * epochs * examples * (length or 0.0),
        # A pass without gradients costs a third; the best weights are judged once more.
        flops=seeds
        * length
        * (epochs * examples + (epochs + 1) * judged / 3)
        * _per_token(source.shape, length)
        if length and source.shape
        else None,
        finetune={**finetune, "dataset": {**plain(chosen), "kind": data.name}, "seeds": list(config.seeds)},
    )


def _per_token(shape: GPTConfig, length: float) -> int:
    return flops_per_token(shape, round(length), FLOPS_FORMULA)


def _length(
    data: Labelled, tokenizer: Tokenizer | None, shape: GPTConfig | None, limit: int | None
) -> float | None:
    """Return about how many tokens an example has, all its sequences together; None without a tokenizer."""
    if tokenizer is None or shape is None:
        return None
    most = min(limit or shape.n_ctx, shape.n_ctx)
    return statistics.fmean(
        _tokens(data.kind, [len(tokenizer.encode(text)) for text in example.texts], most)
        for example in data.train[:: -(-len(data.train) // MEASURED_EXAMPLES)]
    )


def _tokens(kind: str, lengths: Sequence[int], most: int) -> int:
    """Return the tokens of an example's sequences, by the lengths of its texts."""
    if kind == "choice":  # a sequence for each answer, behind the passage
        return sum(min(lengths[0] + answer + SPECIAL_TOKENS, most) for answer in lengths[1:])
    return (2 if kind == "similarity" else 1) * min(sum(lengths) + SPECIAL_TOKENS, most)


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
