"""A fine-tuning as it is planned: what it learns from, the name that its identity gives it, and its cost."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from model.config import GPTConfig, flops_per_token
from model.tokenizer import Tokenizer
from pipeline.config import identity_hash, kind_name, plain
from pipeline.errors import ConfigError
from pipeline.study import trials
from pipeline.study.regimes import FLOPS_FORMULA
from pipeline.study.trials import FineTuned

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


@dataclass(frozen=True, eq=False)
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

    Steps, tokens (about), FLOPs (about) and seconds are of all seeds. In a ladder each run is a trial.
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
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where fine-tunings start: a hash of it, the run or the path, shape and tokenizer where known."""

    hash: str
    training: str | None = None
    checkpoint: str | None = None
    shape: GPTConfig | None = None
    tokenizer: Tokenizer | None = None


def labelled(asked: FineTuned) -> tuple[list[Labelled], list[str]]:
    """Return the datasets that are asked for and are there, and what is to be said of the others."""
    found: list[Labelled] = []
    missing: list[str] = []
    for chosen in asked.datasets:
        try:
            found.append(_read(asked, chosen))
        except ConfigError as fault:  # the set is not there
            missing += fault.problems
    return found, missing


def planned(
    asked: FineTuned, trial: str, start: Start, data: Labelled, over: Mapping[str, Any] = MappingProxyType({})
) -> FineTuning:
    """Return the job of a trial on a dataset; `over` is its fine-tuning as it differs from the others'."""
    chosen = next(each for each in asked.datasets if kind_name(each) == data.name)
    finetune = trials.fine_tuning(asked, over)
    decisive = {key: value for key, value in finetune.items() if key not in EXECUTION_KEYS}
    digest = identity_hash(decisive, dataset=plain(chosen), data=data.sha256, start=start.hash)
    limit, seeds = finetune.get("limit"), len(asked.seeds)
    epochs = int(finetune.get("epochs", EPOCHS))
    batch = int(finetune.get("batch_examples", BATCH))
    examples = min(len(data.train), limit or len(data.train))
    judged = min(len(data.validation), limit or len(data.validation))
    length = _length_of(data, start, finetune.get("max_tokens"))
    return FineTuning(
        name=f"{trial}-{data.name}-{digest[:8]}",
        trial=trial,
        dataset=data.name,
        metric=data.metric,
        checkpoint=start.checkpoint,
        training=start.training,
        seeds=asked.seeds,
        steps=seeds * epochs * -(-examples // batch),
        tokens=seeds * epochs * examples * (length or 0.0),
        # A pass without gradients costs a third; the best weights are judged once more.
        flops=seeds
        * length
        * (epochs * examples + (epochs + 1) * judged / 3)
        * _per_token(start.shape, length)
        if length and start.shape
        else None,
        finetune={**finetune, "dataset": {**plain(chosen), "kind": data.name}, "seeds": list(asked.seeds)},
    )


def _read(asked: FineTuned, chosen: Any) -> Labelled:
    """Return the examples of a dataset that networks learn from and are judged by."""
    dataset = chosen.build()
    train, validation = (dataset.read(split, asked.labelled) for split in ("train", "validation"))
    return Labelled(
        name=kind_name(chosen),
        kind=dataset.kind,
        metric=dataset.metrics[0],
        train=train.examples,
        validation=validation.examples,
        sha256=f"{train.sha256} {validation.sha256}",
    )


def _per_token(shape: GPTConfig, length: float) -> int:
    return flops_per_token(shape, round(length), FLOPS_FORMULA)


def _length_of(data: Labelled, start: Start, limit: int | None) -> float | None:
    """Return about how many tokens an example has, all its sequences together; None without a tokenizer."""
    if start.tokenizer is None or start.shape is None:
        return None
    return _length(data, start.tokenizer.encode, min(limit or start.shape.n_ctx, start.shape.n_ctx))


@functools.lru_cache(maxsize=32)  # the networks of a study share tokenizer and context
def _length(data: Labelled, encode: Callable[[str], Sequence[int]], most: int) -> float:
    return statistics.fmean(
        _tokens(data.kind, [len(encode(text)) for text in example.texts], most)
        for example in data.train[:: -(-len(data.train) // MEASURED_EXAMPLES)]
    )


def _tokens(kind: str, lengths: Sequence[int], most: int) -> int:
    """Return the tokens of an example's sequences, by the lengths of its texts."""
    if kind == "choice":  # a sequence for each answer, behind the passage
        return sum(min(lengths[0] + answer + SPECIAL_TOKENS, most) for answer in lengths[1:])
    return (2 if kind == "similarity" else 1) * min(sum(lengths) + SPECIAL_TOKENS, most)
