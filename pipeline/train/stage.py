"""Pretraining: what is asked, what follows from it, and who may write the run; the loop is in `loop`."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

from launch.environment import rank, world_size
from model.config import GPTConfig
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
from pipeline.errors import ConfigError
from pipeline.formats.manifest import NAME as MANIFEST
from pipeline.formats.manifest import Manifest
from pipeline.formats.run import Run, writing
from pipeline.train.plan import Plan, make_plan, tell
from pipeline.trainer.optim import AdamW
from pipeline.trainer.schedule import Schedule

_log = logging.getLogger("loglinear.train")


class Validation(Schema):
    """`every_steps` 0 validates at the end alone."""

    every_steps: int = execution(500, ge=0, description="steps between validations; the last is always one")
    tokens: int | None = execution(1_000_000, ge=1, description="tokens at most; null for the whole split")
    split: str = execution("validation", description="split of the dataset")


class Checkpoints(Schema):
    """`every_steps` 0 writes one at the end alone (and when asked to stop)."""

    every_steps: int = execution(1000, ge=0, description="steps between checkpoints; the last is always one")
    keep: int = execution(2, ge=1, description="newest checkpoints that are kept")


class Config(Schema):
    """One pretraining run."""

    out: Path = execution(description="the run's directory")
    data: Path = execution(
        description="a dataset's directory; what it holds is identity, where it lies is not"
    )
    model: Annotated[GPTConfig, Plain(GPTConfig)] = identity(description="the model's shape")
    optim: AdamW = identity(description="AdamW")
    schedule: Schedule = identity(Schedule(), description="learning rate over tokens")
    global_batch_tokens: int = identity(gt=0, description="tokens of one step, over all processes")
    train_tokens: int = identity(gt=0, description="tokens to train on, rounded up to whole steps")
    sequence_tokens: int | None = identity(None, gt=0, description="tokens of a window; default model.n_ctx")
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
    log_every_steps: int = execution(10, ge=1, description="steps between rows of metrics.jsonl")
    trackers: list[Annotated[Any, Kind("pipeline.trainer.trackers")]] = execution(
        [], description="besides jsonl"
    )


def plan(config: Config) -> Plan:
    """Return all that follows from a configuration; ConfigError where its numbers do not fit together."""
    manifest = Manifest.read(config.data) if (config.data / MANIFEST).exists() else None
    sequence_tokens = config.sequence_tokens or config.model.n_ctx
    problems = _problems(config, sequence_tokens, manifest)
    if problems:
        raise ConfigError(problems)
    return make_plan(
        model=config.model,
        global_batch_tokens=config.global_batch_tokens,
        train_tokens=config.train_tokens,
        sequence_tokens=sequence_tokens,
        warmup_tokens=config.schedule.warmup_tokens,
        micro_batch_sequences=config.micro_batch_sequences,
        world_size=world_size(),
        dataset_tokens=manifest.tokens("train") if manifest else None,
        config_hash=identity_hash(config, data=manifest.hash if manifest else None),
        data_hash=manifest.hash if manifest else None,
    )


def describe(config: Config, plan: Plan) -> str:
    """Return the plan as lines for people."""
    return tell(config.model, plan)


def run(config: Config, plan: Plan) -> None:
    """Train, or go on training, to the horizon; a finished run says so and returns.

    Raises Stopped once a checkpoint is saved after a signal or a stop file, ConfigError where the directory
    holds a run of another identity.
    """
    started = time.time()
    run = Run(config.out)
    if run.config.is_file():
        refuse_other(run, config, plan)
    if run.finished:
        _log.info("%s: finished, %s tokens; nothing to do", config.out, f"{plan.train_tokens:,}")
        return
    manifest = Manifest.read(config.data)
    manifest.check(config.data, hashes=rank() == 0)
    from pipeline.train.loop import train  # brings torch, which a finished run does without
    from pipeline.trainer.stop import Stop

    with Stop(lambda: run.stop_requested(since=started)) as stop, ExitStack() as stack:
        writer = stack.enter_context(writing(config.out)) if rank() == 0 else None
        if writer is not None:
            writer.write_config(dump(config))
        train(config, plan, manifest, writer, stop)


def refuse_other(run: Run, config: Config, plan: Plan) -> None:
    """Raise ConfigError if a directory holds a run of another identity; log what else has changed."""
    earlier = load(Config, run.config)
    changed = differences(identity_of(earlier), identity_of(config))
    data_hashes = {attempt["plan"]["data_hash"] for attempt in run.attempts()} - {plan.data_hash}
    changed += [
        f"data: {hash!r} -> {plan.data_hash!r} (hash of the manifest)" for hash in sorted(data_hashes)
    ]
    if changed:
        remedy = "give another out, or go back to the run's own values"
        raise ConfigError(
            [f"{run.directory}: holds another run; {remedy}:", *(f"  {line}" for line in changed)]
        )
    for line in differences(plain(earlier), plain(config)):
        _log.info("%s: changed, which does not change the result: %s", run.directory, line)


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
    if manifest and manifest.vocab_size > config.model.vocab_size:
        problems.append(
            f"model.vocab_size: {config.model.vocab_size}, but {config.data} uses {manifest.vocab_size} ids"
        )
    return problems
