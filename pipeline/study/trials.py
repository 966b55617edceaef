"""What a comparison asks for: networks side by side, fine-tuned on the same datasets with the same seeds.

With `evaluate`, each checkpoint that a network's pre-training keeps is put to tasks, without fine-tuning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pydantic

from model.config import GPTConfig
from pipeline.composition import Composed, lay_over
from pipeline.config import Kind, Plain, Schema, execution, identity, kind_name
from pipeline.errors import ConfigError

KEY = "trials"
"""The key that tells a comparison from a ladder."""
SEEDS = (0, 1, 2)
TRAIN_KEYS = ("model", "optim", "global_batch_tokens", "train_tokens")
DECIDED = ("out", "checkpoint", "dataset", "data", "seeds")
"""What of a fine-tuning's configuration the study gives."""
EVALUATE_DECIDED = ("out", "checkpoint", "watch", "data", "corpus")
"""What of an evaluation's configuration the study gives."""

Dataset = Annotated[Any, Kind("pipeline.finetune.datasets", bare=True)]


class Trial(Schema):
    """A network, or a way to fine-tune it. One that is trained lies over the comparison's `train`."""

    name: str = identity(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    checkpoint: Path | None = identity(None, description="a run, a checkpoint, or a folder of weights")
    train: dict[str, Any] | None = identity(None, description="a training, as it differs from `train`")
    finetune: dict[str, Any] = identity({}, description="a fine-tuning, as it differs from `finetune`")
    paper: str = execution("", description="its row in the tables of GPT-1's paper")

    @pydantic.model_validator(mode="after")
    def _one_of_two(self) -> Trial:
        if (self.checkpoint is None) == (self.train is None):
            raise ValueError("give either checkpoint (a path) or train (a training, {} for the common one)")
        if decided := sorted(set(self.finetune) & set(DECIDED)):
            raise ValueError(f"finetune: {', '.join(decided)} is for the study to say; leave it out")
        return self


class FineTuned(Schema):
    """What networks are fine-tuned on, and how: the same in a comparison and in a ladder."""

    finetune: dict[str, Any] = identity(
        {}, description="what fine-tunings share; network, dataset and seeds in it do not count"
    )
    datasets: tuple[Dataset, ...] = identity((), description="kinds of labelled datasets to fine-tune on")
    labelled: Path | None = execution(
        None, description="folder of labelled datasets and evaluation sets; null to have them by name"
    )
    seeds: tuple[int, ...] = identity(SEEDS, min_length=1, description="of each fine-tuning")

    @pydantic.model_validator(mode="after")
    def _once(self) -> FineTuned:
        once("datasets", [kind_name(dataset) for dataset in self.datasets])
        once("seeds", [str(seed) for seed in self.seeds])
        return self


class Config(FineTuned):
    """A comparison: every trial on every dataset, told beside the first trial."""

    out: Path = execution()
    data: Path | None = execution(None, description="the dataset that trials are pre-trained on")
    train: dict[str, Any] = identity({}, description="the training that each trial's `train` completes")
    evaluate: dict[str, Any] | None = identity(
        None, description="of each checkpoint that a training keeps; network and data in it do not count"
    )
    trials: tuple[Trial, ...] = identity(
        min_length=2, description="the first is what others are held against"
    )
    processes: int = execution(2, ge=1)
    threads: int = execution(1, ge=1)
    flops_per_second: float | None = execution(
        None, gt=0, description="what a process reaches here, as measured; the plan then tells hours"
    )
    environment: dict[str, str] = execution({}, description="variables of the jobs")

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Config:
        once("trials", [trial.name for trial in self.trials])
        if not self.datasets and self.evaluate is None:
            raise ValueError("datasets: none, and no evaluate; give what trials are compared by")
        if self.data is None and any(trial.train is not None for trial in self.trials):
            raise ValueError("data: missing; trials are pre-trained on it")
        return self


def once(what: str, names: Sequence[str]) -> None:
    """Raise ValueError for names that are given twice."""
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{what}: given twice: {', '.join(twice)}")


class Complete(Schema):
    """What of a training a plan looks at."""

    model: Annotated[GPTConfig, Plain(GPTConfig)] = identity()


def training(config: Config, trial: Trial) -> dict[str, Any]:
    """Return the whole training of a trial that has one; ConfigError names the keys that it lacks."""
    assert trial.train is not None
    completed = _over(config.train, trial.train)
    if missing := [key for key in TRAIN_KEYS if key not in completed]:
        raise ConfigError(f"trials.{trial.name}.train: {', '.join(missing)} missing, here and in train")
    return {"seed": 0, **completed}


def fine_tuning(asked: FineTuned, over: Mapping[str, Any]) -> dict[str, Any]:
    """Return what fine-tunings share, with what lies over it."""
    kept = {key: value for key, value in asked.finetune.items() if key not in DECIDED}
    return _over(kept, over)


def evaluation(config: Config) -> dict[str, Any]:
    """Return what the evaluations of a comparison share."""
    found = {"suite": "study", **(config.evaluate or {})}
    return {key: value for key, value in found.items() if key not in EVALUATE_DECIDED}


def _over(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    return dict(lay_over(Composed(dict(base)), Composed(dict(over))).value)
