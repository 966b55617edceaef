"""Evaluation: a checkpoint and a suite of tasks in, figures with standard errors out."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from pipeline.config import (
    Kind,
    Schema,
    differences,
    execution,
    identity,
    identity_hash,
    identity_of,
    kind_name,
)
from pipeline.errors import ConfigError
from pipeline.evaluate.subject import Subject, locate
from pipeline.evaluate.task import Setting
from pipeline.formats.manifest import NAME as MANIFEST
from pipeline.formats.manifest import Manifest
from pipeline.formats.results import Results

_log = logging.getLogger("loglinear.evaluate")


def _with_kind(value: Any) -> Any:
    """Take a task's bare name for the task as it comes."""
    return {"kind": value} if isinstance(value, str) else value


Task = Annotated[Any, Kind("pipeline.evaluate.tasks"), BeforeValidator(_with_kind)]


class Config(Schema):
    """One suite of tasks for one checkpoint."""

    checkpoint: Path = execution(
        description="a run, a checkpoint, or a folder in Hugging Face's or OpenAI's layout"
    )
    data: Path = execution(description="a dataset's directory")
    suite: str = execution(pattern=r"^[\w-]+$", description="name of the results file")
    tasks: list[Task] = identity(min_length=1, description="a kind's name, or a mapping with kind")
    limit: int | None = identity(None, ge=1, description="examples of each task at most")
    seed: int = identity(0, ge=0, description="of what tasks draw")
    precision: str = identity("fp32", pattern="^(fp32|bf16)$", description="of weights and products")
    out: Path | None = execution(None, description="results directory; by default RUN/results/STEP")
    device: str = execution(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: the GPU if there is one"
    )
    batch_tokens: int = execution(4096, ge=1, description="tokens of one pass, padding included")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Where the weights are and where results go; None for what is not there yet."""

    subject: Subject | None
    results: Path | None
    config_hash: str | None


def plan(config: Config) -> Plan:
    """Return what follows from a configuration; ConfigError for a task asked for twice."""
    names = [kind_name(task) for task in config.tasks]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"tasks: {', '.join(twice)} asked for more than once; give each suite its own")
    if not config.checkpoint.exists() or not (config.data / MANIFEST).is_file():
        return Plan(subject=None, results=config.out, config_hash=None)
    subject = locate(config.checkpoint)
    manifest = Manifest.read(config.data)
    return Plan(
        subject=subject,
        results=config.out or subject.results,
        config_hash=identity_hash(config, weights=subject.weights_hash, data=manifest.hash),
    )


def describe(config: Config, plan: Plan) -> str:
    """Return the plan as lines for people."""
    lines = {
        "checkpoint": plan.subject.path if plan.subject else f"{config.checkpoint} (or data: not there yet)",
        "tasks": ", ".join(kind_name(task) for task in config.tasks),
        "results": f"{plan.results}/{config.suite}.json" if plan.results else "beside the checkpoint",
        "identity": plan.config_hash or "unknown",
    }
    return "\n".join(f"{name + ':':<18}{text}" for name, text in lines.items())


def run(config: Config, plan: Plan) -> str:
    """Evaluate what is not yet evaluated, publish the suite and return its figures as a table.

    Raises ConfigError where the suite's file holds results of another identity.
    """
    subject = plan.subject or locate(config.checkpoint)
    manifest = Manifest.read(config.data)
    identity = identity_hash(config, weights=subject.weights_hash, data=manifest.hash)
    results = config.out or subject.results
    path = results / f"{config.suite}.json"
    inputs = {"weights": subject.weights_hash, "data": manifest.hash, "config": identity_of(config)}
    if path.is_file():
        _refuse_other(path, inputs)
        _log.info("%s: finished; nothing to do", path)
    else:
        _evaluate(config, subject, results, identity, inputs)
    return f"{_table(Results.read(path))}\n{path}"


def _table(results: Results) -> str:
    """Return one line for each figure, with its standard error where it has one."""
    lines = []
    for each in results.results:
        error = "" if each.stderr is None else f" ± {each.stderr:.4f}"
        figure = f"{each.value:>12.4f}{error:<12}"
        lines.append(f"{each.task:<12}{each.metric:<24}{figure}{each.num_examples:>8,} examples")
    return "\n".join(lines)


def _refuse_other(path: Path, inputs: dict[str, Any]) -> None:
    """Raise ConfigError if a finished suite is of other weights, data or tasks."""
    earlier = Results.read(path).origin["inputs"]
    if changed := differences(earlier, inputs):
        remedy = "give another suite or out, or remove it"
        raise ConfigError([f"{path}: holds other results; {remedy}:", *(f"  {line}" for line in changed)])


def _evaluate(config: Config, subject: Subject, results: Path, identity: str, inputs: dict[str, Any]) -> None:
    from pipeline.evaluate.network import (
        load,
        load_tokenizer,
    )  # brings torch, which a finished suite does without
    from pipeline.evaluate.scorer import Scorer
    from pipeline.evaluate.suite import Suite
    from pipeline.trainer.origin import origin

    started = time.time()
    tokenizer = load_tokenizer(subject)
    network = load(subject, config.device, config.precision, tokenizer)
    setting = Setting(
        corpus=config.data,
        tokenizer=tokenizer,
        n_ctx=network.config.n_ctx,
        limit=config.limit,
        seed=config.seed,
    )
    tasks = [task.build(setting) for task in config.tasks]
    scorer = Scorer(network, config.batch_tokens)
    with Suite(results, config.suite, identity) as suite:
        figures = [
            figure
            for task in tasks
            for figure in suite.run(task, scorer, config.batch_tokens, config.precision)
        ]
        suite.publish_records(tasks)
        Results(
            checkpoint=str(subject.path),
            weights_hash=subject.weights_hash,
            origin={**origin(), "seconds": time.time() - started, "config_hash": identity, "inputs": inputs},
            results=tuple(figures),
        ).write(results / f"{config.suite}.json")
        suite.forget_way()
