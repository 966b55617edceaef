"""Pretraining: what is asked, what follows from it, and who may write the run; the loop is in `loop`."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from launch.environment import rank, world_size
from model.config import GPTConfig
from pipeline.composition import compose
from pipeline.config import (
    Kind,
    Plain,
    Schema,
    differences,
    dump,
    execution,
    identity,
    identity_hash,
    identity_of,
    load,
    plain,
)
from pipeline.errors import ConfigError, FormatError
from pipeline.formats.manifest import NAME as MANIFEST
from pipeline.formats.manifest import Manifest
from pipeline.formats.run import Run, writing
from pipeline.train.estimate import Hardware, Need, refuse_more_than_one
from pipeline.train.init import Init, Parent, problems_of_state, recorded_in, resolve
from pipeline.train.plan import Plan, make_plan
from pipeline.train.samples import Samples
from pipeline.train.telling import tell, tell_needs
from pipeline.trainer.optim import AdamW
from pipeline.trainer.schedule import Schedule
from pipeline.trainer.spikes import Spikes
from pipeline.trainer.stop import Stop
from pipeline.trainer.watchdog import Watchdog, Watcher

_log = logging.getLogger("loglinear.train")

SPECIAL_IDS = 4
"""What masked inputs need behind the tokenizer's ids: start, delimiter, extract, mask."""


class Validation(Schema):
    """`every_steps` 0 validates at the end alone."""

    every_steps: int = execution(500, ge=0, description="steps between validations; the last is always one")
    tokens: int | None = execution(1_000_000, ge=1, description="tokens at most; null for the whole split")
    split: str = execution("validation", description="split of the dataset")


class Checkpoints(Schema):
    """`every_steps` 0 writes one at the end alone (and when asked to stop).

    An asynchronous one needs memory for a copy of state and weights on each process's CPU.
    """

    every_steps: int = execution(1000, ge=0, description="steps between checkpoints; the last is always one")
    keep: int = execution(2, ge=1, description="newest checkpoints that are kept")
    keep_every_steps: int | None = execution(
        None, ge=1, description="checkpoints of multiples of it are kept for ever"
    )
    asynchronous: bool = execution(True, description="train on while a checkpoint is written")


class Config(Schema):
    """One pretraining run."""

    out: Path = execution(description="the run's directory")
    data: Path = execution(
        description="a dataset's directory; what it holds is identity, where it lies is not"
    )
    model: Annotated[GPTConfig, Plain(GPTConfig)] = identity(description="the model's shape")
    init: Init | None = identity(None, description="a parent to start from; null starts from the seed")
    optim: AdamW = identity(description="AdamW")
    schedule: Schedule = identity(Schedule(), description="learning rate over tokens")
    global_batch_tokens: int = identity(gt=0, description="tokens of one step, over all processes")
    train_tokens: int = identity(gt=0, description="tokens to train on, rounded up to whole steps")
    sequence_tokens: int | None = identity(None, gt=0, description="tokens of a window; default model.n_ctx")
    document_masking: bool = identity(
        False, description="attention stays inside a document; windows run across them all the same"
    )
    objective: Literal["next_token", "masked"] = identity(
        "next_token",
        description="masked: BERT's two tasks, for model.causal: false and 4 more ids than the tokenizer's",
    )
    spikes: Spikes = identity(Spikes(), description="which steps are skipped, and when the run goes back")
    precision: str = identity(
        "fp32", pattern="^(fp32|bf16)$", description="of the products; all else is fp32"
    )
    seed: int = identity(0, ge=0, description="of weights, order of data and dropout")
    engine: Annotated[Any, Kind("pipeline.trainer.engines")] = execution(
        {"kind": "single"}, description="engine"
    )
    micro_batch_sequences: int | None = execution(None, gt=0, description="sequences of one pass at most")
    validation: Validation = execution(Validation(), description="loss on held-out text while training")
    checkpoint: Checkpoints = execution(Checkpoints(), description="what is kept to go on from")
    samples: Samples = execution(Samples(), description="texts drawn while training")
    watchdog: Watchdog = execution(Watchdog(), description="processes that hang or are slow")
    hardware: Hardware = execution(Hardware(), description="the machine that `loglinear plan` reckons with")
    log_every_steps: int = execution(10, ge=1, description="steps between rows of metrics.jsonl")
    trackers: list[Annotated[Any, Kind("pipeline.trainer.trackers")]] = execution(
        [], description="besides jsonl"
    )


def plan(config: Config) -> Plan:
    """Return all that follows from a configuration; ConfigError where its numbers do not fit together."""
    return _plan_for(config, world_size())


def _plan_for(config: Config, processes: int) -> Plan:
    manifest = Manifest.read(config.data) if (config.data / MANIFEST).exists() else None
    sequence_tokens = config.sequence_tokens or config.model.n_ctx
    parent = resolve(config.init, Run(config.out)) if config.init else None
    problems = _problems(config, sequence_tokens, manifest)
    if config.init and config.init.what == "state" and parent and parent.checkpoint.is_dir():
        data_hash = manifest.hash if manifest else None
        problems += problems_of_state(parent, identity_of(config), data_hash, config.train_tokens)
    if problems:
        raise ConfigError(problems)
    made = make_plan(
        model=config.model,
        global_batch_tokens=config.global_batch_tokens,
        train_tokens=config.train_tokens,
        sequence_tokens=sequence_tokens,
        warmup_tokens=config.schedule.warmup_tokens,
        micro_batch_sequences=config.micro_batch_sequences,
        world_size=processes,
        dataset_tokens=manifest.tokens("train") if manifest else None,
        config_hash=_hash(config, manifest, parent),
        data_hash=manifest.hash if manifest else None,
    )
    return replace(made, parent=parent)


def describe(config: Config, plan: Plan) -> str:
    """Return the plan as lines for people, for the machine that `hardware` names where it names one."""
    if config.hardware.count:
        refuse_more_than_one(config.engine, config.hardware.count)
        plan = _plan_for(config, config.hardware.count)
    lines = tell(config.model, plan)
    if config.init is not None:
        parent = plan.parent
        start = f"{parent.checkpoint} ({parent.hash})" if parent else "the parent is not there yet"
        lines = f"{lines}\n{'start:':<18}{config.init.what} of {start}"
    needs = need(config, plan, "cpu" if config.engine.device == "cpu" else "cuda")
    return f"{lines}\n\n{tell_needs(plan, needs, config.engine, config.hardware)}"


def need(config: Config, plan: Plan, device: Literal["cpu", "cuda"]) -> Need:
    """Return what the memory of one process follows from."""
    return Need(
        model=config.model,
        sequence_tokens=plan.sequence_tokens,
        rows=plan.rows_per_rank,
        precision=config.precision,
        device=device,
        documents=config.document_masking,
        processes=plan.world_size,
        staged=config.checkpoint.asynchronous,
    )


def run(config: Config, plan: Plan) -> None:
    """Train, or go on training, to the horizon; a finished run says so and returns.

    Raises Stopped once a checkpoint is saved after a signal or a stop file, ConfigError where the directory
    holds a run of another identity.
    """
    run = Run(config.out)
    if run.config.is_file():
        refuse_other(run, config, plan)
    elif run.checkpoints():
        raise FormatError(
            f"{run.config}: missing, but the run has checkpoints; restore it, or give another out"
        )
    if run.finished:
        _log.info("%s: finished, %s tokens; nothing to do", config.out, f"{plan.train_tokens:,}")
        return
    if config.init and plan.parent is None:
        raise FormatError(f"init.checkpoint: {config.init.checkpoint}: no checkpoint, run or model is here")
    with Stop(run.stop_requested) as stop, Watcher(config.watchdog, run.directory / "logs") as watcher:
        _start(config, plan, stop, watcher)


def _start(config: Config, plan: Plan, stop: Stop, watcher: Watcher) -> None:
    """Check what there is to start from, take the run for writing and train."""
    manifest = Manifest.read(config.data)
    manifest.check(config.data, hashes=rank() == 0)
    from pipeline.train.fit import refuse_what_cannot_fit
    from pipeline.train.loop import train  # brings torch, which a finished run does without

    refuse_what_cannot_fit(
        partial(need, config, plan), config.engine, plan.micro_batch_sequences, config.hardware
    )
    with ExitStack() as stack:
        writer = stack.enter_context(writing(config.out)) if rank() == 0 else None
        if writer is not None:
            writer.write_config(dump(config))
        train(config, plan, manifest, writer, stop, watcher)


def refuse_other(run: Run, config: Config, plan: Plan) -> None:
    """Raise ConfigError if a directory holds a run of another identity; log what else has changed."""
    try:
        earlier = load(Config, run.config)
    except ConfigError as fault:
        remedy = f"{run.config}: not as this run wrote it; restore it, or give another out"
        raise ConfigError([*fault.problems, remedy]) from None
    changed = differences(identity_of(earlier), identity_of(config))
    # Of a dataset that is not there, what is missing is told when it is read.
    known = [attempt["plan"]["data_hash"] for attempt in run.attempts()] if plan.data_hash else []
    data_hashes = set(known) - {plan.data_hash}
    changed += [
        f"data: {hash!r} -> {plan.data_hash!r} (hash of the manifest)" for hash in sorted(data_hashes)
    ]
    recorded = recorded_in(run)
    if recorded and plan.parent and recorded.hash != plan.parent.hash:
        changed.append(
            f"init.checkpoint: {recorded.hash!r} ({recorded.checkpoint}) -> {plan.parent.hash!r}"
            f" ({plan.parent.checkpoint}; hash of what is there)"
        )
    if changed:
        remedy = "give another out, or go back to the run's own values"
        raise ConfigError([f"{run.config}: holds another run; {remedy}:", *(f"  {line}" for line in changed)])
    # As it stands in the file: a key that was lost with its end is told, though the default may be the same.
    for line in differences(compose(run.config).value, plain(config)):
        _log.info("%s: changed, which does not change the result: %s", run.config, line)


def _hash(config: Config, manifest: Manifest | None, parent: Parent | None) -> str:
    """Return the hash of what a run is: its identity, the data's and, where it has one, its parent's."""
    started = {"init": parent.hash} if parent else {}
    return identity_hash(config, data=manifest.hash if manifest else None, **started)


def _problems(config: Config, sequence_tokens: int, manifest: Manifest | None) -> list[str]:
    problems = []
    if sequence_tokens > config.model.n_ctx:
        problems.append(f"sequence_tokens: {sequence_tokens} is more than model.n_ctx ({config.model.n_ctx})")
    warmup_tokens, decay_tokens = config.schedule.warmup_tokens, config.schedule.decay_tokens or 0
    if warmup_tokens + decay_tokens > config.train_tokens:
        problems.append(
            f"schedule: warm-up and decay ({warmup_tokens:,} + {decay_tokens:,} tokens) are longer than"
            f" train_tokens ({config.train_tokens:,})"
        )
    problems += _problems_of_objective(config, manifest)
    if manifest and manifest.vocab_size > config.model.vocab_size:
        problems.append(
            f"model.vocab_size: {config.model.vocab_size}, but {config.data} uses {manifest.vocab_size} ids"
        )
    return problems


def _problems_of_objective(config: Config, manifest: Manifest | None) -> list[str]:
    masked, causal = config.objective == "masked", config.model.causal
    if masked == causal:
        sees = "sees only what is before it" if causal else "sees what it is to predict"
        return [
            f"objective: {config.objective}, but with model.causal: {str(causal).lower()} a position {sees}"
        ]
    if not masked:
        return []
    problems = []
    if manifest and config.model.vocab_size != manifest.vocab_size + SPECIAL_IDS:
        problems.append(
            f"model.vocab_size: {config.model.vocab_size}, but masking takes the {manifest.vocab_size} ids of"
            f" {config.data} and {SPECIAL_IDS} more: {manifest.vocab_size + SPECIAL_IDS}"
        )
    if config.samples.every_steps:
        problems.append("samples: a network that fills in cannot write from left to right; leave them out")
    if config.document_masking:
        problems.append("document_masking: masked inputs are two pieces of text as they come; leave it out")
    return problems
