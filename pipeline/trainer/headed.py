"""What a network with a head is trained for: the loss of its task, and the language model's beside it.

Fine-tuning minimises L2 + λ · L1 (GPT-1, section 3.2): each term is a mean, of the task over examples and of
the language model over sequences, of which each is the mean over its own targets (released code, train.py).
BERT's pre-training is the same with masked positions for targets, and whether one piece of text follows the
other for the task.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from model.config import GPTConfig
from model.tokenizer import Tokenizer
from model.weights import METADATA
from model.weights_headed import BODY, CONTENT, HEAD, HEAD_WEIGHTS
from pipeline.formats.checkpoint import settle, write_summed
from pipeline.trainer.engine import NO_TARGET
from pipeline.trainer.state import WEIGHT, Snapshot, Writing, write_model

TASK, LANGUAGE_MODEL = "task", "language_model"
Labels = Literal["class", "shares", "ends"]


@dataclass(frozen=True)
class Examples:
    """What one process forwards at once: B examples of K sequences of T positions.

    `ids` (B, K, T) with padding after the extract token at `places` (B, K); `targets` (B, K, T), -100 where
    the language model has none. `labels` are the numbers of classes or answers (B,), each class's share (B,
    classes), or the first and last position of an answer (B, 2); -100, or shares of 0, where an example is
    not counted.
    """

    ids: Tensor
    places: Tensor
    targets: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> Examples:
        """Return the examples on a device."""
        if device.type == "cpu":
            return self
        return Examples(*(each.to(device, non_blocking=True) for each in vars(self).values()))

    def pinned(self) -> Examples:
        """Return the examples in pinned memory."""
        return Examples(*(each.pin_memory() for each in vars(self).values()))


class Headed:
    """The objective of a network with a head (model/finetuned.py), for labels of one kind."""

    def __init__(self, labels: Labels, language_model_weight: float):
        model = {LANGUAGE_MODEL: language_model_weight} if language_model_weight else {}
        self.weights: Mapping[str, float] = {TASK: 1.0, **model}
        self._loss, self._counted = LOSSES[labels]

    def counts(self, batch: Examples) -> dict[str, int]:
        """Return how many examples have a label, and how many sequences something to predict."""
        counts = {
            TASK: int(self._counted(batch.labels).sum()),
            LANGUAGE_MODEL: int((batch.targets != NO_TARGET).any(2).sum()),
        }
        return {name: counts[name] for name in self.weights}

    def sums(self, model: nn.Module, batch: Examples) -> dict[str, Tensor]:
        """Return both losses in nats, summed over examples and over sequences, in fp32."""
        targets = batch.targets if LANGUAGE_MODEL in self.weights else None
        scores, language_model = model(batch.ids, batch.places, targets)
        scores = _possible(scores.float(), batch.places)
        sums = {TASK: self._loss(scores, batch.labels)}
        return sums if language_model is None else {**sums, LANGUAGE_MODEL: language_model}

    def predict(self, model: nn.Module, batch: Examples) -> Tensor:
        """Return the logarithms of probabilities: (B, classes or answers), of spans (B, T, 2) over T."""
        scores, _ = model(batch.ids, batch.places)
        return _possible(scores.float(), batch.places).log_softmax(1)


def _possible(scores: Tensor, places: Tensor) -> Tensor:
    """Return scores of positions (B, T, 2) with those of padding at -inf; other scores as they are."""
    if scores.ndim < 3:
        return scores
    outside = torch.arange(scores.shape[1], device=places.device) > places
    return scores.masked_fill(outside.unsqueeze(2), -torch.inf)


def _class_loss(scores: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(scores, labels, reduction="sum", ignore_index=NO_TARGET)


def _shares_loss(scores: Tensor, shares: Tensor) -> Tensor:
    """Return the cross-entropy with soft labels (B, classes)."""
    return -(shares * scores.log_softmax(1)).sum()


def _ends_loss(scores: Tensor, ends: Tensor) -> Tensor:
    """Return the mean of the losses of an answer's two ends (B, 2), of scores (B, T, 2)."""
    return (_class_loss(scores[:, :, 0], ends[:, 0]) + _class_loss(scores[:, :, 1], ends[:, 1])) / 2


Loss = Callable[[Tensor, Tensor], Tensor]
LOSSES: Mapping[Labels, tuple[Loss, Callable[[Tensor], Tensor]]] = MappingProxyType(
    {
        "class": (_class_loss, lambda labels: labels != NO_TARGET),
        "shares": (_shares_loss, lambda shares: shares.sum(1) > 0),
        "ends": (_ends_loss, lambda ends: ends[:, 0] != NO_TARGET),
    }
)


def write_headed(
    directory: Path, snapshot: Snapshot, config: GPTConfig, tokenizer: Tokenizer, **told: Any
) -> Writing:
    """Write the weights of a snapshot as `model.weights_headed` reads them; `told` goes into head.json."""
    sums = yield from write_model(directory, snapshot, config, tokenizer, prefix=BODY)
    (directory / CONTENT).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    sums[directory / CONTENT] = settle(directory / CONTENT)
    head = [name for name in snapshot.names(WEIGHT) if name.startswith(HEAD)]
    pieces = snapshot.safetensors(
        {name.removeprefix(HEAD): (f"{WEIGHT}/{name}", False) for name in head}, METADATA
    )
    sums[directory / HEAD_WEIGHTS] = yield from write_summed(directory / HEAD_WEIGHTS, pieces)
    return sums
