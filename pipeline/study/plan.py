"""What a study will train: sizes, seeds, learning rates, tokens and cost. Arithmetic only.

Every measured number a plan rests on is inside it, so the plan of a study that was interrupted never changes.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from model.config import GPTConfig, flops_per_token, parameters, parameters_non_embedding
from pipeline.config import identity_hash
from pipeline.errors import ConfigError, FormatError
from pipeline.formats.publish import read_json
from pipeline.study import order
from pipeline.study.finetuning import FineTuning
from pipeline.study.regimes import FIXED, FLOPS_FORMULA

FORMAT = 1
# What a training configuration may say about how it is carried out without becoming another run.
EXECUTION_KEYS = (
    "out",
    "data",
    "engine",
    "micro_batch_sequences",
    "trackers",
    "log_every_steps",
    "checkpoint",
)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """How fast a size trains here; `threads` is what its job was given."""

    tokens_per_second: float
    start_seconds: float
    evaluate_seconds: float
    threads: int


@dataclass(frozen=True, kw_only=True)
class PlannedArm:
    """A part of the study: sizes under one regime of tokens, told in words.

    `is_ladder` says that it is one rule of tokens over enough sizes, so its largest is predicted first.
    """

    name: str
    regime: str
    words: str
    is_ladder: bool


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One training of the study.

    `arm` is the first that asked for it, `also` are others that asked for the very same. `tokens` and `flops`
    are of all that the network has seen, `parent_tokens` of them up to its `parent`'s state. `is_trunk` is a
    stretch at the peak rate for others to go on from, and no result. `budget` is in FLOPs. `is_largest` says
    that it is a ladder's largest size, `awaits` which arms' predictions must be on disk before it starts.
    """

    name: str
    rung: str
    arm: str
    seed: int
    is_largest: bool
    params: int
    params_non_embedding: int
    lr: float
    tokens: int
    unique_tokens: int
    data_tokens: int
    batch_tokens: int
    flops: float
    estimated_seconds: float | None
    config_hash: str
    train: dict[str, Any]
    finetunings: tuple[FineTuning, ...] = ()
    also: tuple[str, ...] = ()
    awaits: tuple[str, ...] = ()
    regime: str = ""
    budget: float | None = None
    parent: str | None = None
    parent_tokens: int = 0
    is_trunk: bool = False
    threads: int = 1

    @property
    def arms(self) -> tuple[str, ...]:
        """All arms that it belongs to."""
        return (self.arm, *self.also)

    @property
    def epochs(self) -> float:
        """Passes over the training split; below 1, part of it is never seen and nothing is seen twice.

        NaN while the dataset is not there.
        """
        return self.tokens / self.data_tokens if self.data_tokens else math.nan

    @property
    def new_flops(self) -> float:
        """What of the FLOPs this job spends."""
        return self.flops * (self.tokens - self.parent_tokens) / self.tokens

    @property
    def finetune_flops(self) -> float:
        """About what its fine-tunings spend, as far as that is known."""
        return math.fsum(job.flops or 0.0 for job in self.finetunings)

    @property
    def tokens_per_parameter(self) -> float:
        """Training tokens for each non-embedding parameter."""
        return self.tokens / self.params_non_embedding


ONLY_ARM = PlannedArm(name="", regime=FIXED, words="the same tokens at every size", is_ladder=True)
"""What a ladder without arms is."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All runs of a study and the rule it will be judged by, fixed before anything is trained."""

    config_hash: str
    identity: Any
    data_hash: str
    created: str
    train_tokens: int
    processes: int
    threads: int
    success: dict[str, Any]
    measurements: dict[str, Measurement]
    runs: tuple[PlannedRun, ...]
    arms: tuple[PlannedArm, ...] = (ONLY_ARM,)
    hardware: str = ""
    price_per_hour: float | None = None
    flops_formula: str = FLOPS_FORMULA
    format: int = FORMAT

    @property
    def points(self) -> tuple[PlannedRun, ...]:
        """The runs that are results."""
        return tuple(run for run in self.runs if not run.is_trunk)

    def of_arm(self, name: str) -> tuple[PlannedRun, ...]:
        """Return the results of an arm, those that it shares with others among them."""
        return tuple(run for run in self.points if name in run.arms)

    @property
    def estimated_seconds(self) -> float | None:
        """How long the study takes, in the order in which its runs start; None where no speed is known."""
        return order.duration(self, {run.name: run.estimated_seconds for run in self.runs})

    def as_json(self) -> dict[str, Any]:
        """Return the content of plan.json."""
        values = asdict(self)
        for run, described in zip(self.runs, values["runs"], strict=True):
            described |= {"epochs": run.epochs, "tokens_per_parameter": run.tokens_per_parameter}
        return values | {"estimated_seconds": self.estimated_seconds}


def read(path: Path) -> Plan:
    """Return the plan of a study; FormatError if the file is of another format."""
    values = read_json(path)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise FormatError(f"{path}: not a plan of format {FORMAT}; start the study in a new directory")
    values.pop("estimated_seconds", None)
    derived = {"epochs", "tokens_per_parameter"}
    try:
        values["runs"] = tuple(
            _run({key: value for key, value in run.items() if key not in derived}) for run in values["runs"]
        )
        if "arms" in values:
            values["arms"] = tuple(PlannedArm(**arm) for arm in values["arms"])
        values["measurements"] = {name: Measurement(**one) for name, one in values["measurements"].items()}
        return Plan(**values)
    except (KeyError, TypeError) as fault:
        raise FormatError(f"{path}: {fault}; start the study in a new directory") from None


def _run(values: dict[str, Any]) -> PlannedRun:
    run = PlannedRun(**values)
    jobs = (FineTuning(**{**job, "seeds": tuple(job["seeds"])}) for job in values.get("finetunings", ()))
    run = replace(run, also=tuple(run.also), awaits=tuple(run.awaits), finetunings=tuple(jobs))
    # Plans were written that did not yet say what the largest size waits for.
    return replace(run, awaits=run.arms) if run.is_largest and not run.awaits else run


def learning_rate(width: int, *, base: float, base_width: int, exponent: float) -> float:
    """Return base * (width / base_width)^exponent, to four digits so that a run's name is stable."""
    return float(f"{base * (width / base_width) ** exponent:.4g}")


def makespan(seconds: Sequence[float], processes: int) -> float:
    """Return when the last of these jobs ends if each free process takes the longest one left."""
    ends = [0.0] * processes
    for job in sorted(seconds, reverse=True):
        heapq.heappush(ends, heapq.heappop(ends) + job)
    return max(ends)


def tokens_within(
    seconds: float, groups: Sequence[Sequence[Measurement]], processes: int, batch_tokens: int
) -> int:
    """Return the most tokens per run, in whole batches, with which all groups of runs, in turn, end in time.

    ConfigError where not even ten batches fit.
    """

    def duration(tokens: int) -> float:
        return sum(
            makespan([run_seconds(one, tokens) for one in group], processes) for group in groups if group
        )

    # Durations grow with the tokens, so halving finds the answer; the bound takes only training to take time.
    fastest = max(one.tokens_per_second for group in groups for one in group)
    low, high = 0, math.ceil(seconds * fastest / batch_tokens) + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if duration(middle * batch_tokens) <= seconds else (low, middle)
    if low < 10:
        fixed = duration(0)
        raise ConfigError(
            f"tokens.seconds: {seconds:g} s are too few: starting and evaluating the runs takes {fixed:.0f} "
            f"s and ten steps {duration(10 * batch_tokens):.0f} s; give more time or fewer runs"
        )
    return low * batch_tokens


def run_seconds(measured: Measurement, tokens: int) -> float:
    """Return how long a run of so many tokens takes, from start to its evaluation."""
    return measured.start_seconds + tokens / measured.tokens_per_second + measured.evaluate_seconds


def complete(
    base: Mapping[str, Any],
    *,
    model: Mapping[str, int],
    seed: int,
    lr: float,
    tokens: int,
    warmup_fraction: float,
    batch_tokens: int | None = None,
    schedule: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the training configuration of one run: the base with what the study decides.

    `schedule` lies over the base's, and over the warm-up that follows from the fraction.
    """
    batch = batch_tokens or int(base["global_batch_tokens"])
    warmup = max(batch, round(tokens * warmup_fraction / batch) * batch)
    return {
        **base,
        "model": {**base.get("model", {}), **model},
        "optim": {**base.get("optim", {}), "lr": lr},
        "schedule": {**base.get("schedule", {}), "warmup_tokens": warmup, **(schedule or {})},
        "seed": seed,
        "global_batch_tokens": batch,
        "train_tokens": tokens,
    }


def describe_run(
    train: dict[str, Any],
    shape: GPTConfig,
    *,
    rung: str,
    arm: str,
    data_hash: str,
    data_tokens: int,
    parent: PlannedRun | None = None,
) -> PlannedRun:
    """Return the planned run of a completed training configuration; its name ends in its identity's hash.

    That of a run with a parent is of the parent's too.
    """
    decisive = {key: value for key, value in train.items() if key not in EXECUTION_KEYS}
    started = {"parent": parent.config_hash} if parent else {}
    config_hash = identity_hash(decisive, data=data_hash, **started)
    sequence_tokens = int(train.get("sequence_tokens") or shape.n_ctx)
    parts = [rung, *([arm] if arm else []), f"s{train['seed']}", config_hash[:8]]
    return PlannedRun(
        name="-".join(parts),
        rung=rung,
        arm=arm,
        seed=int(train["seed"]),
        is_largest=False,
        params=parameters(shape),
        params_non_embedding=parameters_non_embedding(shape),
        lr=float(train["optim"]["lr"]),
        tokens=int(train["train_tokens"]),
        unique_tokens=min(data_tokens, int(train["train_tokens"])),
        data_tokens=data_tokens,
        batch_tokens=int(train["global_batch_tokens"]),
        flops=float(flops_per_token(shape, sequence_tokens, FLOPS_FORMULA)) * int(train["train_tokens"]),
        estimated_seconds=None,
        config_hash=config_hash,
        train=train,
        parent=parent.name if parent else None,
        parent_tokens=parent.tokens if parent else 0,
    )


def mark_largest(runs: Sequence[PlannedRun]) -> tuple[PlannedRun, ...]:
    """Return the runs, those of the size with the most non-embedding parameters marked as held back."""
    most = max(run.params_non_embedding for run in runs)
    largest = [run.params_non_embedding == most for run in runs]
    return tuple(
        replace(run, is_largest=True, awaits=(run.arm,)) if held else run
        for run, held in zip(runs, largest, strict=True)
    )
