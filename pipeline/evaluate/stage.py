"""Evaluation: a checkpoint and a suite of tasks in, figures with standard errors out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, model_validator

from launch.environment import rank
from pipeline.config import Kind, Schema, execution, identity, identity_hash, kind_name
from pipeline.errors import ConfigError
from pipeline.evaluate.harness import Config as HarnessConfig
from pipeline.formats.subject import Subject, locate


def _with_task(value: Any) -> Any:
    """Take the bare name of a task of lm-eval for the task as it comes."""
    return {"task": value} if isinstance(value, str) else value


Task = Annotated[Any, Kind("pipeline.evaluate.tasks", bare=True)]
Harness = Annotated[HarnessConfig, BeforeValidator(_with_task)]


class Config(Schema):
    """One suite of tasks for one checkpoint."""

    checkpoint: Path | None = execution(
        None, description="a run, a checkpoint, or a folder in Hugging Face's or OpenAI's layout"
    )
    watch: Path | None = execution(
        None, description="a run that is in training: each of its checkpoints as it comes, not `checkpoint`"
    )
    patience_minutes: float = execution(
        60.0, gt=0, description="a watched run that has written nothing for so long has ended"
    )
    data: Path | None = execution(
        None, description="folder of evaluation sets, or a dataset of ours; null: sets by name"
    )
    corpus: Path | None = execution(None, description="a dataset of ours; by default data, where it is one")
    check_sums: bool = execution(True, description="refuse sets that are not what was published")
    suite: str = execution(pattern=r"^[\w-]+$", description="name of the results file")
    tasks: list[Task] = identity([], description="a kind's name, or a mapping with kind")
    harness: list[Harness] = identity(
        [], description="tasks of lm-eval (extra [lm-eval]): names, files, or a mapping with task"
    )
    limit: int | None = identity(None, ge=1, description="examples of each task at most")
    seed: int = identity(0, ge=0, description="of what tasks draw")
    precision: str = identity("fp32", pattern="^(fp32|bf16)$", description="of weights and products")
    out: Path | None = execution(None, description="results directory; by default RUN/results/STEP")
    device: str = execution(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: the GPU if there is one"
    )
    batch_tokens: int = execution(4096, ge=1, description="tokens of one pass, padding included")

    @model_validator(mode="after")
    def _asks_for_something(self) -> Config:
        if not self.asked:
            raise ValueError("tasks: none are asked for; name some, or some of lm-eval's with harness")
        if self.checkpoint is None and self.watch is None:
            raise ValueError("checkpoint: missing; give one, or a run with watch to follow it")
        return self

    @property
    def asked(self) -> list[tuple[str, Any]]:
        """What is asked for, each by the name of its results: tasks of ours, then lm-eval's."""
        ours = [(kind_name(task), task) for task in self.tasks]
        return [*ours, *((task.name, task) for task in self.harness)]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Where the weights are and where results go; None for what is not there yet."""

    subject: Subject | None
    results: Path | None
    config_hash: str | None


def plan(config: Config) -> Plan:
    """Return what follows from a configuration; ConfigError for a task asked for twice."""
    names = [name for name, _ in config.asked]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"tasks: {', '.join(twice)} asked for more than once; give each suite its own")
    if config.watch is not None or config.checkpoint is None or not config.checkpoint.exists():
        return Plan(subject=None, results=config.out, config_hash=None)
    subject = locate(config.checkpoint)
    return Plan(
        subject=subject,
        results=config.out or subject.results,
        config_hash=identity_hash(config, weights=subject.weights_hash),
    )


def describe(config: Config, plan: Plan) -> str:
    """Return the plan as lines for people."""
    of = f"{config.checkpoint} (not there yet)" if config.watch is None else f"those of {config.watch}"
    lines = {
        "checkpoint": plan.subject.path if plan.subject else of,
        "data": config.data or "sets by name, through datasets",
        "tasks": ", ".join(name for name, _ in config.asked),
        "results": f"{plan.results}/{config.suite}.json" if plan.results else "beside the checkpoint",
        "identity": plan.config_hash or "unknown",
    }
    return "\n".join(f"{name + ':':<18}{text}" for name, text in lines.items())


def run(config: Config, plan: Plan) -> str:
    """Evaluate what is not yet evaluated, publish the suite and return its figures as a table.

    Tasks whose sets are missing are told of and left out. Of several processes of a job the first one leads
    and tells. A watched run's checkpoints are evaluated until it has ended. Raises ConfigError where all sets
    are missing, or the suite's file holds results of another identity.
    """
    from pipeline.evaluate.parallel import joined  # brings torch
    from pipeline.evaluate.watch import evaluated

    with joined(config.device):
        if config.watch is None:
            return _evaluate(config, plan.subject)
        return evaluated(
            config.watch, 60 * config.patience_minutes, lambda found: _evaluate(_of(config, found), None)
        )


def _of(config: Config, checkpoint: Path) -> Config:
    """Return the configuration for one checkpoint of a watched run."""
    out = config.out and config.out / checkpoint.name
    return config.model_copy(update={"checkpoint": checkpoint, "watch": None, "out": out})


def _evaluate(config: Config, subject: Subject | None) -> str:
    """Evaluate one checkpoint by all processes of the job; return what rank 0 has to tell."""
    from pipeline.evaluate.evaluation import evaluate, scorer_of
    from pipeline.evaluate.parallel import Team

    team = Team(partial(scorer_of, config))
    if rank() > 0:
        team.serve()
        return ""
    with team:
        assert config.checkpoint is not None, "a configuration without a checkpoint was let through"
        return evaluate(config, subject or locate(config.checkpoint), team)
