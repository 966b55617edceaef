"""The contract between a training loop and the frameworks that spread a model over processes.

The seam is coarse on purpose: the engine sees all micro-batches of a step, counts targets across ranks and
normalises every loss term by its own count, so that accumulation, clipping, skipping and sharding hide
behind it.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from pipeline.trainer.optim import AdamW
from pipeline.trainer.state import Snapshot, Writing

Precision = Literal["fp32", "bf16"]
NO_TARGET = -100
LEAST_PRIORITY = 19  # as nice(1) counts
WriteModel = Callable[[Snapshot], Writing]


class Batch(Protocol):
    """What one process forwards at once: of a form that its objective knows."""

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""

    def pinned(self) -> Batch:
        """Return the batch in memory that a GPU can copy from while it computes."""


@dataclass(frozen=True)
class Tokens:
    """A batch of text: `inputs` and `targets` (B, T), int64; -100 asks for no loss.

    `documents` (B, T), int64, number the document of each position: attention then stays inside a document.
    """

    inputs: Tensor
    targets: Tensor
    documents: Tensor | None = None

    def to(self, device: torch.device) -> Tokens:
        """Return the batch on a device."""
        if device.type == "cpu":
            return self
        documents = self.documents
        return Tokens(
            self.inputs.to(device, non_blocking=True),
            self.targets.to(device, non_blocking=True),
            documents if documents is None else documents.to(device, non_blocking=True),
        )

    def pinned(self) -> Tokens:
        """Return the batch in pinned memory."""
        documents = self.documents
        return Tokens(
            self.inputs.pin_memory(),
            self.targets.pin_memory(),
            documents if documents is None else documents.pin_memory(),
        )


@dataclass(frozen=True)
class StepStats:
    """One optimizer step over all ranks: weighted loss, gradient norm before the clip, targets counted.

    `applied` is False where the step was skipped: weights, moments and step count are as before it.
    `grad_norm` is NaN where loss or norm was not finite; a norm above the step's limit is told as it was.
    """

    loss: float
    grad_norm: float
    targets: int
    applied: bool


@dataclass(frozen=True)
class Loss:
    """One term of a loss: its sum in nats over `count` targets, and its weight in the objective."""

    sum: float
    count: int
    weight: float


Losses = Mapping[str, Loss]


class Objective(Protocol):
    """What a model is trained for: named terms, each a sum over targets; a batch alone tells how many.

    Each objective has a form of batches of its own.
    """

    weights: Mapping[str, float]

    def counts(self, batch: Any) -> dict[str, int]:
        """Return each term's number of targets in a batch."""

    def sums(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        """Return each term's loss, summed over its targets, in fp32."""

    def predict(self, model: nn.Module, batch: Any) -> Tensor:
        """Return the model's outputs for a batch."""


class NextToken:
    """Predict each target from the tokens up to it."""

    name = "next_token"

    def __init__(self) -> None:
        self.weights: Mapping[str, float] = {self.name: 1.0}

    def counts(self, batch: Tokens) -> dict[str, int]:
        """Return how many positions have a target."""
        return {self.name: int((batch.targets != NO_TARGET).sum())}

    def sums(self, model: nn.Module, batch: Tokens) -> dict[str, Tensor]:
        """Return the summed cross-entropy in nats."""
        return {self.name: model(batch.inputs, batch.targets, batch.documents)}

    def predict(self, model: nn.Module, batch: Tokens) -> Tensor:
        """Return logits (B, T, V)."""
        logits: Tensor = model(batch.inputs, documents=batch.documents)
        return logits


class Engine(Protocol):
    """A model spread over this job's processes, and the means to take one optimizer step.

    Every method is collective.
    """

    def train_step(self, micro_batches: Sequence[Batch], lr: float, limit: float = math.inf) -> StepStats:
        """Accumulate the micro-batches, clip, and update.

        The update is skipped where the loss or the gradient norm before the clip is not finite, or the norm
        is above `limit`.
        """

    def loss(self, batch: Batch) -> Losses:
        """Return the loss terms over all ranks' batches, without training."""

    def predict(self, batch: Batch) -> Tensor:
        """Return the model's outputs for this rank's batch."""

    def weights(self) -> dict[str, Tensor] | None:
        """Return copies of the full-precision weights on rank 0's CPU, None elsewhere.

        They share no memory with the model.
        """

    def save_state(self, directory: Path, write_model: WriteModel | None = None) -> Pending:
        """Write the engine-neutral training state, as it is now, in a thread; training may go on.

        So are the weights on rank 0, before it, if `write_model` is given. `wait()` on the result, on every
        rank, before anything is published.
        """

    def load_state(self, directory: Path) -> None:
        """Take over a state that any engine at any world size has written."""

    def memory_bytes(self) -> int:
        """Return the most memory that this rank's process or device has held."""

    def close(self) -> None:
        """Leave the group of processes."""


class EngineConfig(Protocol):
    """The `Config` of a module in `engines/`."""

    def build(self, model: nn.Module, optim: AdamW, objective: Objective, precision: Precision) -> Engine:
        """Return the engine; collective."""


class Pending:
    """A write that goes on in a thread, block by block; `running` until it has ended or failed.

    Who waits for it does the rest of the work himself. The thread takes what training leaves of the CPUs, and
    holds the interpreter's lock for moments only: what it copies, sums and writes, it does without.
    """

    def __init__(self, blocks: Writing):
        self._blocks, self._turn, self._hurried = blocks, threading.Lock(), False
        self._begun, self.seconds = time.perf_counter(), 0.0
        self._sums: dict[Path, str] = {}
        self.failure: BaseException | None = None
        self.running = True
        self._thread = threading.Thread(target=self._run, name="save-state")
        self._thread.start()

    def wait(self) -> dict[Path, str]:
        """Return the BLAKE3 of each file once all are written; raises what went wrong."""
        self._hurried = True
        while self.running:
            self._step()
        self._thread.join()
        if self.failure is not None:
            raise self.failure
        return self._sums

    def abandon(self) -> None:
        """Leave the rest unwritten."""
        self._hurried = True
        self._thread.join()
        self._blocks.close()
        self.running = False

    def _run(self) -> None:
        if sys.platform == "linux":  # elsewhere a thread has no priority of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LEAST_PRIORITY)
        while self.running and not self._hurried:
            self._step()

    def _step(self) -> None:
        with self._turn:
            if not self.running:
                return
            try:
                next(self._blocks)
            except BaseException as end:
                if isinstance(end, StopIteration):
                    self._sums = end.value
                else:
                    self.failure = end
                self.seconds = time.perf_counter() - self._begun
                self.running = False


def weighted(sums: Mapping[str, Tensor], weights: Mapping[str, float], counts: Mapping[str, float]) -> Tensor:
    """Return a batch's part of the objective: each term over its count in the step, times its weight."""
    parts = [sums[name] * (weights[name] / max(counts[name], 1)) for name in sums]
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum()


def counted(objective: Objective, batches: Sequence[Batch]) -> dict[str, float]:
    """Return each term's number of targets in this rank's batches."""
    counts = [objective.counts(batch) for batch in batches]
    return {name: float(sum(count[name] for count in counts)) for name in objective.weights}
