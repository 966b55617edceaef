"""What a study asks for: sizes, seeds, the learning-rate rule, tokens, and the rule it will be judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from model.config import GPTConfig, parameters, parameters_non_embedding
from pipeline.config import Plain, Schema, execution, identity, identity_of, validate
from pipeline.errors import ConfigError
from pipeline.study import plan as plans
from pipeline.study import trials
from pipeline.study.collect import VALIDATION

EVALUATE_EXECUTION_KEYS = ("out", "data", "checkpoint", "device", "batch_tokens")


class Shape(Schema):
    """A size of the ladder; what it leaves out comes from the training configuration."""

    n_layer: int = identity(ge=1)
    n_head: int = identity(ge=1)
    n_embd: int = identity(ge=1)


class Rung(Schema):
    """One size and the seeds it is trained with."""

    name: str = identity(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.]*$")
    model: Shape = identity()
    seeds: tuple[int, ...] = identity(min_length=1)

    @property
    def shape(self) -> dict[str, int]:
        """The keys of the size, as they lie over the training configuration's model."""
        return dict(self.model)


class LearningRate(Schema):
    """lr = base * (n_embd / base_width)^exponent; `evidence` names the sweep that supports it."""

    base: float = identity(gt=0)
    base_width: int = identity(ge=1)
    exponent: float = identity(0.0)
    evidence: str = execution("", description="the sweep study that supports the rule")


class Tokens(Schema):
    """How long each run trains: a count, or as long as fits a budget of seconds for the whole ladder."""

    count: int | None = identity(None, gt=0)
    seconds: float | None = execution(None, gt=0, description="for all runs together, measuring apart")
    calibration_steps: int = execution(8, ge=4)

    @pydantic.model_validator(mode="after")
    def _one_of_two(self) -> Tokens:
        if (self.count is None) == (self.seconds is None):
            raise ValueError("give either count (tokens per run) or seconds (for the whole study)")
        return self


class Arm(Schema):
    """A variation trained at every size."""

    name: str = identity(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.]*$")
    lr_factor: float = identity(gt=0, description="times the learning rate of the rule")


class Success(Schema):
    """The rule a ladder is judged by, stated before it is trained."""

    ordered_fraction: float = identity(
        1.0, ge=0, le=1, description="share of neighbouring sizes of which the larger must be better"
    )


class Config(Schema):
    """A study; with `arms` it is a sweep of learning rates, without them a ladder."""

    out: Path = execution()
    family: str = identity("loglinear")
    data: Path = execution()
    train: dict[str, Any] = identity(description="the training configuration that each run completes")
    evaluate: dict[str, Any] | None = identity(
        None, description="none: the trainer's last validation is the result"
    )
    rungs: tuple[Rung, ...] = identity(min_length=2)
    arms: tuple[Arm, ...] = identity(())
    learning_rate: LearningRate = identity()
    warmup_fraction: float = identity(0.05, ge=0, lt=1)
    tokens: Tokens = identity()
    metric: str = identity(
        "held_out.bits_per_byte", description="task.metric of an evaluation, or validation.*"
    )
    better: Literal["lower", "higher"] = identity("lower")
    abscissa: Literal["params", "params_non_embedding", "flops"] = identity("params_non_embedding")
    success: Success = identity(Success())
    processes: int = execution(2, ge=1)
    threads: int = execution(1, ge=1)
    environment: dict[str, str] = execution(
        {}, description="variables of the jobs, for example MALLOC_TRIM_THRESHOLD_"
    )

    @classmethod
    def meant_by(cls, values: Any) -> type[Schema]:
        """Return the schema of a comparison for a mapping with trials."""
        return trials.Config if isinstance(values, dict) and trials.KEY in values else cls

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Config:
        names = [rung.name for rung in self.rungs]
        if len(set(names)) < len(names):
            raise ValueError(
                f"rungs: names given twice: {', '.join(sorted({n for n in names if names.count(n) > 1}))}"
            )
        if not self.arms and len(self.rungs) < 4:
            raise ValueError(
                f"rungs: {len(self.rungs)} sizes are too few: the largest is predicted, and the form is "
                "chosen by leaving out another; give at least 4"
            )
        if "global_batch_tokens" not in self.train:
            raise ValueError("train: global_batch_tokens is missing; the study counts in batches")
        if self.evaluate is None and not self.metric.startswith(f"{VALIDATION}."):
            raise ValueError(
                f"metric: {self.metric} needs an evaluation; give evaluate, or use validation.bits_per_byte"
            )
        return self


class _Complete(Schema):
    model: Annotated[GPTConfig, Plain(GPTConfig)] = identity()


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What can be said of a study before its data and this machine are looked at."""

    config: Config
    shapes: Mapping[str, GPTConfig]

    def lines(self) -> list[str]:
        """Return the sizes and the token rule as lines for people."""
        lines = [f"{'rung':<12}{'non-embedding':>14}{'all':>13}{'lr':>10}{'seeds':>12}"]
        for rung in self.config.rungs:
            shape, seeds = self.shapes[rung.name], ",".join(map(str, rung.seeds))
            count, total = parameters_non_embedding(shape), parameters(shape)
            lines.append(
                f"{rung.name:<12}{count:>14,}{total:>13,}{rate(self.config, rung, 1.0):>10.3g}{seeds:>12}"
            )
        tokens = self.config.tokens
        lines.append(
            f"{tokens.count:,} tokens a run"
            if tokens.count
            else f"tokens a run: as many as fit {tokens.seconds:g} s, once each size's speed here is measured"
        )
        return lines


def plan(config: Config) -> Preview:
    """Return the study's sizes with their true counts; ConfigError where a size is none. Touches nothing."""
    shapes = {}
    problems: list[str] = []
    for rung in config.rungs:
        merged = {**config.train.get("model", {}), **rung.shape}
        try:
            shapes[rung.name] = validate(_Complete, {"model": merged}, f"rungs.{rung.name}").model
        except ConfigError as fault:
            problems += fault.problems
    if problems:
        raise ConfigError(problems)
    return Preview(config=config, shapes=shapes)


def rate(config: Config, rung: Rung, factor: float) -> float:
    """Return a rung's learning rate by the study's rule, times an arm's factor."""
    chosen = config.learning_rate
    return plans.learning_rate(
        rung.model.n_embd, base=chosen.base * factor, base_width=chosen.base_width, exponent=chosen.exponent
    )


def decisive(config: Config) -> dict[str, Any]:
    """Return the study's identity; of the configurations of its jobs only what decides their results."""
    found: dict[str, Any] = identity_of(config)
    for key, ignored in (("train", plans.EXECUTION_KEYS), ("evaluate", EVALUATE_EXECUTION_KEYS)):
        if found[key] is not None:
            found[key] = {name: value for name, value in found[key].items() if name not in ignored}
    return found
