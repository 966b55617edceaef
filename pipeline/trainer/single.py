"""The `single` engine, and what it shares with those that hold the model in parts: `ddp` and `fsdp2`.

Weights, gradients, their sums and the moments are fp32. With precision bf16 the products alone run in bf16,
under autocast. The update waits for nothing: norm, clip and the decision to skip are made on the device, and
one transfer at the end of the step tells of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from launch.environment import rank, world_size
from pipeline.trainer import state
from pipeline.trainer.collective import gathered, leave, total, wait_for_all
from pipeline.trainer.engine import (
    Batch,
    Loss,
    Losses,
    Objective,
    Pending,
    Precision,
    StepStats,
    WriteModel,
    counted,
    weighted,
)
from pipeline.trainer.hardware import peak_memory_bytes
from pipeline.trainer.optim import AdamW, FusedAdamW, judged


class Single:
    """The reference that every other engine equals.

    `_tensors` are this process's parts of the parameters by name: here all of each. An engine that spreads
    the model says how a part and the whole become each other, and where gradients are summed.
    """

    def __init__(
        self, model: nn.Module, optim: AdamW, objective: Objective, precision: Precision, device: torch.device
    ):
        self._model, self._objective, self._precision, self._device = model, objective, precision, device
        self._parameters = dict(model.named_parameters())
        self._tensors = self._parts()
        self._optimizer = FusedAdamW(self._tensors, optim)
        self._snapshot = state.Snapshot()

    def train_step(self, micro_batches: Sequence[Batch], lr: float, limit: float = math.inf) -> StepStats:
        """Accumulate, clip, update."""
        counts = total(counted(self._objective, micro_batches))
        if not self._model.training:  # a walk over all modules, a fiftieth of a tiny model's step
            self._model.train()
        losses = []
        for left, batch in enumerate(micro_batches, 1 - len(micro_batches)):
            self._expect_pass(is_last=left == 0)
            losses.append(self._backward(batch.to(self._device), counts))
        gradients = self._gradients()
        loss, norm = self._summed(torch.stack(losses).sum(), nn.utils.get_total_norm(gradients.values()))
        good = judged(loss, norm, limit)
        self._snapshot.freeze()
        self._optimizer.step(lr, gradients, norm, good)
        for parameter in self._parameters.values():
            parameter.grad = None
        # One transfer for all figures: on a GPU this is the only wait of the step.
        told_loss, told_norm, applied = torch.stack([loss, norm, good]).tolist()
        finite = math.isfinite(told_loss) and math.isfinite(told_norm)
        return StepStats(
            told_loss, told_norm if finite else math.nan, int(max(counts.values())), bool(applied)
        )

    @torch.no_grad()
    def loss(self, batch: Batch) -> Losses:
        """Return the loss terms over all ranks' batches."""
        self._model.eval()
        with self._autocast():
            sums = self._objective.sums(self._model, batch.to(self._device))
        counts = {f"count {name}": float(count) for name, count in self._objective.counts(batch).items()}
        values = total({**counts, **{name: float(value) for name, value in sums.items()}})
        weights = self._objective.weights
        return {name: Loss(values[name], int(values[f"count {name}"]), weights[name]) for name in sums}

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        """Return the model's outputs for this rank's batch."""
        self._model.eval()
        with self._autocast():
            return self._objective.predict(self._model, batch.to(self._device))

    def weights(self) -> dict[str, Tensor] | None:
        """Return copies of the full weights on rank 0's CPU."""
        found: dict[str, Tensor] = {}
        for name, tensor in self._tensors.items():
            whole = self._whole(name, tensor)
            if rank() == 0:
                found |= state.staged({name: whole})
        return found if rank() == 0 else None

    def save_state(self, directory: Path, write_model: WriteModel | None = None) -> Pending:
        """Give weights, moments and generators, tensor by tensor, to the process that writes them."""
        sizes = {name: parameter.numel() for name, parameter in self._parameters.items()}
        rng = state.rng_tensors(rank())
        index = state.index_of(self._optimizer.steps, sizes, gathered(list(rng)))
        self._snapshot.freeze()  # the last one may still be read
        self._snapshot = state.Snapshot(rng)
        for kind, tensors in self._held().items():
            for name, tensor in tensors.items():
                whole = self._whole(name, tensor)
                if state.is_wanted(index, f"{kind}/{name}", rank(), write_model is not None):
                    self._snapshot.add(f"{kind}/{name}", whole, live=whole is tensor)
        return Pending(state.write(directory, self._snapshot, index, rank(), write_model))

    @torch.no_grad()
    def load_state(self, directory: Path) -> None:
        """Take over weights, moments and generators; every process reads what it holds a part of."""
        self._snapshot.freeze()
        found = state.State(directory)
        found.check_names(self._parameters)
        for kind, tensors in self._held().items():
            for name, tensor in tensors.items():
                whole = found.tensor(kind, name, self._parameters[name].shape)
                tensor.copy_(self._part(name, whole))
        self._optimizer.steps = found.optimizer_steps
        found.restore_rng(rank(), world_size())
        wait_for_all()

    def memory_bytes(self) -> int:
        """Return the peak of this rank's process or device."""
        return peak_memory_bytes(self._device)

    def close(self) -> None:
        """Leave the group of processes, where there is one."""
        leave()

    def _parts(self) -> dict[str, Tensor]:
        """Return what this process holds and updates of each parameter."""
        return dict(self._parameters)

    def _whole(self, name: str, part: Tensor) -> Tensor:  # noqa: ARG002 - a part is the whole here
        """Return a parameter, or a moment of it, in full shape; collective."""
        return part

    def _part(self, name: str, whole: Tensor) -> Tensor:  # noqa: ARG002
        """Return this process's part of a full tensor."""
        return whole

    def _expect_pass(self, is_last: bool) -> None:
        """Make ready for a micro-batch, the step's last one or not."""

    def _gradients(self) -> dict[str, Tensor]:
        """Return the gradients of the parts, summed over the step and over all processes."""
        return {name: cast(Tensor, parameter.grad) for name, parameter in self._parameters.items()}

    def _summed(self, loss: Tensor, norm: Tensor) -> tuple[Tensor, Tensor]:
        """Return loss and gradient norm over all processes from those of this process's part (fp32)."""
        return loss, norm

    def _held(self) -> dict[str, Mapping[str, Tensor]]:
        return {state.WEIGHT: self._tensors, **self._optimizer.moments()}

    def _backward(self, batch: Batch, counts: dict[str, float]) -> Tensor:
        with self._autocast():
            sums = self._objective.sums(self._model, batch)
        loss = weighted(sums, self._objective.weights, counts)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _autocast(self) -> AbstractContextManager[None]:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._precision == "bf16")
