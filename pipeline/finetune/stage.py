"""Supervised fine-tuning: a pretrained network and a labelled dataset in, figures over several seeds out."""

from __future__ import annotations

import hashlib
import logging
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from launch.environment import rank
from pipeline.config import (
    Kind,
    Schema,
    differences,
    dump,
    execution,
    identity,
    identity_hash,
    identity_of,
    kind_name,
    load,
)
from pipeline.errors import ConfigError
from pipeline.finetune.dataset import Dataset, Split
from pipeline.formats.run import Run, writing
from pipeline.formats.subject import Subject, locate
from pipeline.formats.summary import NAME as SUMMARY
from pipeline.formats.summary import Summary, table
from pipeline.trainer.optim import AdamW
from pipeline.trainer.stop import Stop
from pipeline.trainer.watchdog import Watchdog, Watcher

_log = logging.getLogger("loglinear.finetune")

# GPT-1, section 4.1; betas, epsilon, clip and decay are those of its released code.
OPTIM = AdamW(lr=6.25e-5, betas=(0.9, 0.999), weight_decay=0.01, grad_clip=1.0)


class Config(Schema):
    """One dataset, several seeds; the defaults are GPT-1's (section 4.1, and its released code)."""

    out: Path = execution(description="directory; each seed is a run in it")
    checkpoint: Path = execution(
        description="the pretrained network: a run, a checkpoint, or a folder of Hugging Face or OpenAI"
    )
    dataset: Annotated[Any, Kind("pipeline.finetune.datasets", bare=True)] = identity(
        description="what is learned"
    )
    data: Path | None = execution(None, description="folder of datasets; null to have them by name")
    check_sums: bool = execution(True, description="refuse files that differ from those published")
    seeds: list[int] = execution([0, 1, 2], min_length=1, description="a run for each; more may follow later")
    transferred_layers: int | None = identity(
        None, ge=-1, description="blocks taken over with the embeddings before them; null: all; -1: nothing"
    )
    epochs: int = identity(3, ge=1, description="passes over the training examples")
    batch_examples: int = identity(32, ge=1, description="examples of one step, over all processes")
    optim: AdamW = identity(OPTIM, description="AdamW")
    warmup_fraction: float = identity(0.002, ge=0, lt=1, description="of all steps, before the linear decay")
    language_model_weight: float = identity(0.5, ge=0, description="of the auxiliary loss; 0 leaves it out")
    dropout: float | None = identity(0.1, ge=0, lt=1, description="in the network; null: as it was trained")
    classifier_dropout: float = identity(0.1, ge=0, lt=1, description="of the state that the head reads")
    max_tokens: int | None = identity(None, ge=8, description="of an input; null: the network's context")
    limit: int | None = identity(None, ge=1, description="examples of each split at most")
    precision: str = identity("fp32", pattern="^(fp32|bf16)$", description="of the products")
    engine: Annotated[Any, Kind("pipeline.trainer.engines")] = execution(
        {"kind": "single"}, description="engine"
    )
    micro_batch_examples: int = execution(8, ge=1, description="examples of one pass at most")
    checkpoint_every_steps: int = execution(
        0, ge=0, description="steps between checkpoints besides those after each epoch; 0 for none"
    )
    log_every_steps: int = execution(10, ge=1, description="steps between rows of metrics.jsonl")
    watchdog: Watchdog = execution(Watchdog(), description="processes that hang or are slow")
    trackers: list[Annotated[Any, Kind("pipeline.trainer.trackers")]] = execution(
        [], description="besides jsonl"
    )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What follows from a configuration; None where network or data are not there yet."""

    subject: Subject | None
    dataset: Dataset
    train: Split | None
    steps_per_epoch: int | None
    config_hash: str | None
    inputs: dict[str, Any]


def plan(config: Config) -> Plan:
    """Return what follows from a configuration; ConfigError where its numbers do not fit together."""
    if len(set(config.seeds)) < len(config.seeds):
        raise ConfigError(f"seeds: {config.seeds} names one twice; each is a run of its own")
    dataset: Dataset = config.dataset.build()
    subject = locate(config.checkpoint) if config.checkpoint.exists() else None
    train = dataset.read("train", config.data, config.check_sums) if _is_there(config.data) else None
    if subject is None or train is None:
        return Plan(
            subject=subject, dataset=dataset, train=train, steps_per_epoch=None, config_hash=None, inputs={}
        )
    examples = min(len(train.examples), config.limit or len(train.examples))
    inputs = {"weights": subject.weights_hash, "data": _hash_of(config, dataset, train)}
    return Plan(
        subject=subject,
        dataset=dataset,
        train=train,
        steps_per_epoch=-(-examples // config.batch_examples),
        config_hash=identity_hash(config, **inputs),
        inputs={**inputs, "config": identity_of(config)},
    )


def describe(config: Config, plan: Plan) -> str:
    """Return the plan as lines for people."""
    dataset = plan.dataset
    lines = {
        "dataset": plan.train.told if plan.train else f"{dataset.name} (not there yet)",
        "kind": f"{dataset.kind}; judged by {', '.join(dataset.metrics)}",
        "checkpoint": plan.subject.path if plan.subject else f"{config.checkpoint} (not there yet)",
        "seeds": ", ".join(map(str, config.seeds)),
        "identity": plan.config_hash or "unknown",
    }
    if plan.steps_per_epoch:
        steps = config.epochs * plan.steps_per_epoch
        lines["steps"] = f"{steps:,} a seed: {config.epochs} epochs of {plan.steps_per_epoch:,}"
    return "\n".join(f"{name + ':':<18}{text}" for name, text in lines.items())


def run(config: Config, plan: Plan) -> str:
    """Fine-tune every seed that is not finished, publish their summary and return it as a table.

    Raises Stopped once a checkpoint is saved after a signal or a stop file, ConfigError where the directory
    holds a fine-tuning of another identity.
    """
    if plan.subject is None:
        locate(config.checkpoint)  # names what is missing
    if plan.train is None:
        plan.dataset.read("train", config.data, config.check_sums)
    outer = Run(config.out)
    if outer.config.is_file():
        _refuse_other(outer, config, plan)
    with (
        Stop(outer.stop_requested) as stop,
        Watcher(config.watchdog, config.out / "logs") as watcher,
        ExitStack() as stack,
    ):
        writer = stack.enter_context(writing(config.out)) if rank() == 0 else None
        if writer is not None:
            writer.write_config(dump(config))
        from pipeline.finetune.seeds import finetune  # brings torch, which a finished one does without

        finetune(config, plan, writer, stop, watcher)
    return f"{table(Summary.read(config.out / SUMMARY))}\n{config.out / SUMMARY}"


def _is_there(data: Path | None) -> bool:
    return data is None or data.is_dir()


def _hash_of(config: Config, dataset: Dataset, train: Split) -> str:
    """Return the hash of the splits that a figure follows from: those learned from and chosen by."""
    chosen = dataset.read("validation", config.data, config.check_sums)
    return hashlib.sha256(f"{train.sha256} {chosen.sha256}".encode()).hexdigest()


def _refuse_other(outer: Run, config: Config, plan: Plan) -> None:
    """Raise ConfigError if a directory holds a fine-tuning of another identity."""
    earlier = load(Config, outer.config)
    changed = differences(identity_of(earlier), identity_of(config))
    known = next((attempt["inputs"] for attempt in outer.attempts() if attempt.get("inputs")), None)
    if known and plan.inputs:
        changed += differences(known, plan.inputs)
    if changed:
        remedy = "give another out, or go back to its own values"
        lines = [f"{outer.config}: holds another fine-tuning; {remedy}:", *(f"  {line}" for line in changed)]
        raise ConfigError(lines)


def name_of(config: Config) -> str:
    """Return the dataset's kind, which names the task in results."""
    return kind_name(config.dataset)
