"""What a study asks for: sizes, arms, seeds, rules of rate, batch and tokens, and how it is judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pydantic

from pipeline.config import Schema, execution, identity, identity_of, kind_name
from pipeline.study import finetuning, trials
from pipeline.study import plan as plans
from pipeline.study.collect import FINETUNE, VALIDATION
from pipeline.study.dial import Dial, Rung
from pipeline.study.price import Hardware
from pipeline.study.regimes import CHECK, Regime

EVALUATE_EXECUTION_KEYS = ("out", "data", "checkpoint", "device", "batch_tokens")
FEWEST_SIZES = 4
"""The largest is predicted, by the form that did best at the second largest, of forms with two numbers."""


class LearningRate(Schema):
    """lr = base * (n_embd / base_width)^exponent.

    `evidence` names the sweep that supports it, `source` whose rule it is.
    """

    base: float = identity(gt=0)
    base_width: int = identity(ge=1)
    exponent: float = identity(0.0)
    evidence: str = execution("", description="the sweep study that supports the rule")
    source: str = execution("", description="who says that the rate follows the width so")


class Batch(Schema):
    """Tokens of a batch = base_tokens * (tokens of the run / at_train_tokens)^exponent, in whole sequences.

    The learning rate goes with (batch / base_tokens)^lr_exponent: 0.5 for Adam (Malladi et al. 2022).
    """

    base_tokens: int = identity(ge=1)
    at_train_tokens: int = identity(ge=1)
    exponent: float = identity(ge=0, le=1)
    lr_exponent: float = identity(0.0, ge=0, le=1)
    source: str = execution("", description="who says that the batch follows the tokens so")


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
    """Sizes under one rule of tokens, or, with lr_factor, at another learning rate than the rule's."""

    name: str = identity(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.]*$")
    rungs: tuple[str, ...] | None = identity(None, min_length=1, description="which sizes; by default all")
    tokens: Regime | None = identity(None, description="by default those of the study")
    lr_factor: float | None = identity(None, gt=0, description="times the learning rate of the rule")


class Check(Schema):
    """A sweep of the rate at the main arm's smallest and largest size; factor 1 is the rule's own."""

    factors: tuple[float, ...] = identity((0.5, 1.0, 2.0), min_length=2)

    @pydantic.model_validator(mode="after")
    def _on_both_sides(self) -> Check:
        if min(self.factors) <= 0 or not min(self.factors) < 1 < max(self.factors):
            raise ValueError(f"factors: below and above 1, and positive, got {list(self.factors)}")
        return self


class Success(Schema):
    """The rule a ladder is judged by, stated before it is trained."""

    ordered_fraction: float = identity(
        1.0, ge=0, le=1, description="share of neighbouring sizes of which the larger must be better"
    )


class Target(Schema):
    """A value to be reached: the verdict says what it would take."""

    value: float = identity()
    metric: str | None = identity(None, description="none: the study's own")


class Config(trials.FineTuned):
    """A study: a ladder in one or more arms, or, if all arms have an lr_factor alone, a sweep of rates.

    The first arm is the main one: by it the study is judged. With `datasets`, each run is fine-tuned on them.
    """

    out: Path = execution()
    family: str = identity("loglinear")
    data: Path = execution()
    train: dict[str, Any] = identity(description="the training configuration that each run completes")
    evaluate: dict[str, Any] | None = identity(
        None, description="none: the trainer's last validation is the result"
    )
    rungs: tuple[Rung, ...] = identity(())
    dial: Dial | None = identity(None, description="instead of rungs: sizes that differ by their depth")
    arms: tuple[Arm, ...] = identity(())
    learning_rate: LearningRate = identity()
    batch: Batch | None = identity(None, description="none: train.global_batch_tokens for every run")
    warmup_fraction: float = identity(0.05, ge=0, lt=1)
    tokens: Tokens | None = identity(None, description="of the runs whose arm does not say its own")
    check: Check | None = identity(None, description="whether the rule of the learning rate holds")
    max_epochs: float | None = execution(
        None, gt=0, description="a run that repeats its data more is refused"
    )
    metric: str = identity(
        "held_out.bits_per_byte",
        description="task.metric of an evaluation, validation.*, or finetune.dataset.metric",
    )
    better: Literal["lower", "higher"] = identity("lower")
    abscissa: Literal["params", "params_non_embedding", "flops"] = identity("params_non_embedding")
    success: Success = identity(Success())
    target: Target | None = identity(None, description="what it would take to reach a value")
    processes: int = execution(2, ge=1)
    threads: int = execution(1, ge=1)
    hardware: Hardware | None = execution(None, description="the machine that hours and price are told for")
    price_per_hour: float | None = execution(None, ge=0, description="of that machine, in any currency")
    environment: dict[str, str] = execution(
        {}, description="variables of the jobs, for example MALLOC_TRIM_THRESHOLD_"
    )

    @classmethod
    def meant_by(cls, values: Any) -> type[Schema]:
        """Return the schema of a comparison for a mapping with trials."""
        return trials.Config if isinstance(values, dict) and trials.KEY in values else cls

    @property
    def sizes(self) -> tuple[Rung, ...]:
        """The sizes, from the list or the dial."""
        return self.dial.rungs() if self.dial else self.rungs

    @property
    def is_sweep(self) -> bool:
        """Whether all that varies beside the sizes is the learning rate."""
        return bool(self.arms) and all(arm.lr_factor and arm.tokens is None for arm in self.arms)

    def rungs_of(self, arm: Arm) -> tuple[Rung, ...]:
        """Return the sizes of an arm."""
        return tuple(rung for rung in self.sizes if arm.rungs is None or rung.name in arm.rungs)

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Config:
        if bool(self.rungs) == (self.dial is not None):
            raise ValueError("rungs: give either rungs (a list of sizes) or dial (depths, aspect, head_size)")
        for what, names in (
            ("rungs", [rung.name for rung in self.sizes]),
            ("arms", [arm.name for arm in self.arms]),
        ):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{what}: names given twice: {', '.join(twice)}")
        if problem := self._problem_of_arms():
            raise ValueError(problem)
        if "global_batch_tokens" not in self.train:
            raise ValueError("train: global_batch_tokens is missing; the study counts in batches")
        if problem := self._problem_of_finetuning():
            raise ValueError(problem)
        if self.evaluate is None and not self.metric.startswith((f"{VALIDATION}.", f"{FINETUNE}.")):
            raise ValueError(
                f"metric: {self.metric} needs an evaluation; give evaluate, or use validation.bits_per_byte"
            )
        return self

    def _problem_of_arms(self) -> str:
        """Return what is wrong with sizes, arms and tokens together, or nothing."""
        known = [rung.name for rung in self.sizes]
        for arm in self.arms:
            if unknown := sorted(set(arm.rungs or ()) - set(known)):
                return f"arms: {arm.name}: no rung {', '.join(unknown)}; there are {', '.join(known)}"
            if arm.tokens is None and self.tokens is None:
                return (
                    f"arms: {arm.name} says no tokens, and neither does the study; give tokens to one of them"
                )
        if not self.arms and self.tokens is None:
            return "tokens: missing; give tokens: {count: …}, or arms with tokens of their own"
        if self.tokens and self.tokens.seconds and any(arm.tokens for arm in self.arms):
            return (
                "tokens: seconds are for all runs together; with arms that say their own tokens give a count"
            )
        if not self.arms and len(known) < FEWEST_SIZES:
            return (
                f"rungs: {len(known)} sizes are too few: the largest is predicted, and the form is chosen by "
                f"leaving out another; give at least {FEWEST_SIZES}"
            )
        if self.check and (self.is_sweep or CHECK in [arm.name for arm in self.arms]):
            return "check: for ladders, and no arm may be called check; leave it out of a sweep"
        return ""

    def _problem_of_finetuning(self) -> str:
        """Return what is wrong with fine-tunings, or nothing."""
        task, _, dataset = self.metric.rpartition(".")[0].partition(".")
        if task == FINETUNE and dataset not in [kind_name(each) for each in self.datasets]:
            return f"metric: {self.metric} needs fine-tunings on {dataset}; add it to datasets"
        if "datasets" not in self.model_fields_set and {"finetune", "seeds"} & self.model_fields_set:
            return (
                "datasets: missing; finetune and seeds are of fine-tunings, and without datasets there are "
                "none (seeds of trainings are those of rungs or dial)"
            )
        if self.datasets and self.tokens and self.tokens.seconds:
            return "tokens: seconds do not count fine-tunings; give a count, or leave datasets out"
        return ""


def decisive(config: Config) -> dict[str, Any]:
    """Return the study's identity; of the configurations of its jobs only what decides their results.

    What is not given is left out, so that it stays the same when other things can be given too.
    """
    found: dict[str, Any] = identity_of(config)
    if not config.datasets:
        found = {key: value for key, value in found.items() if key not in trials.FineTuned.model_fields}
    for key, ignored in (
        ("train", plans.EXECUTION_KEYS),
        ("evaluate", EVALUATE_EXECUTION_KEYS),
        ("finetune", finetuning.EXECUTION_KEYS),
    ):
        if found.get(key) is not None:
            found[key] = {name: value for name, value in found[key].items() if name not in ignored}
    found["arms"] = [_given(arm) for arm in found["arms"]]
    return _given(found)


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _given(value) if isinstance(value, dict) and key == "tokens" else value
        for key, value in values.items()
        if value is not None
    }
