"""The `deepspeed` engine: ZeRO behind our contract.

Parameters, gradients, their accumulation and reduction and the moments are fp32 in every stage. With
precision bf16 the products run under autocast, as in `single`, so that the engines differ in rounding alone
and residual stream and norms stay fp32; ZeRO 3 gathers the blocks' matrices in bf16. DeepSpeed's own bf16
would keep residual stream, gains and biases in bf16 too. The learning rate, the normalisation and the rule
for bad numbers are ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from launch.environment import rank, world_size
from pipeline.trainer import state
from pipeline.trainer.collective import alone, gathered, leave, total, wait_for_all
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
from pipeline.trainer.optim import is_good
from pipeline.trainer.zero_stages import Stage, shape


class Zero:
    """A DeepSpeed engine of any stage."""

    def __init__(
        self, engine: Any, stage: Stage, objective: Objective, precision: Precision, device: torch.device
    ):
        self._engine, self._stage = engine, stage
        self._objective, self._precision, self._device = objective, precision, device
        self._parameters = dict(engine.module.named_parameters())

    def train_step(self, micro_batches: Sequence[Batch], lr: float, limit: float = math.inf) -> StepStats:
        """Accumulate, clip, update."""
        counts = total(counted(self._objective, micro_batches))
        for group in self._engine.optimizer.param_groups:
            group["lr"] = lr
        self._engine.train()
        losses = []
        for left, batch in enumerate(micro_batches, 1 - len(micro_batches)):
            self._engine.set_gradient_accumulation_boundary(left == 0)
            losses.append(self._backward(batch.to(self._device), counts))
        loss = torch.stack(losses).sum()
        if not alone():
            dist.all_reduce(loss)
        verdict = Verdict(loss, limit)
        self._stage.step(verdict)
        return StepStats(verdict.loss, verdict.grad_norm, int(max(counts.values())), verdict.applied)

    @torch.no_grad()
    def loss(self, batch: Batch) -> Losses:
        """Return the loss terms over all ranks' batches."""
        self._engine.eval()
        with self._autocast():
            sums = self._objective.sums(self._engine, batch.to(self._device))
        counts = {f"count {name}": float(count) for name, count in self._objective.counts(batch).items()}
        values = total({**counts, **{name: float(value) for name, value in sums.items()}})
        weights = self._objective.weights
        return {name: Loss(values[name], int(values[f"count {name}"]), weights[name]) for name in sums}

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        """Return the model's outputs for this rank's batch."""
        self._engine.eval()
        with self._autocast():
            return self._objective.predict(self._engine, batch.to(self._device))

    def weights(self) -> dict[str, Tensor] | None:
        """Return copies of the full weights on rank 0's CPU, gathered one by one."""
        copies: dict[str, Tensor] = {}
        for name, parameter in self._parameters.items():
            full = self._stage.full(parameter, state.WEIGHT)
            if rank() == 0:
                copies |= state.staged({name: full})
        return copies if rank() == 0 else None

    def save_state(self, directory: Path, write_model: WriteModel | None = None) -> Pending:
        """Gather tensor by tensor, keep copies of what this rank writes, and write them in a thread."""
        steps = self._stage.steps()
        self._stage.set_steps(steps)
        rng = state.rng_tensors(rank())
        sizes = {name: shape(parameter).numel() for name, parameter in self._parameters.items()}
        index = state.index_of(steps, sizes, gathered(list(rng)))
        snapshot = state.Snapshot(rng)
        for name, parameter in self._parameters.items():
            for kind in state.KINDS:
                full = self._stage.full(parameter, kind)
                if state.is_wanted(index, f"{kind}/{name}", rank(), write_model is not None):
                    snapshot.add(f"{kind}/{name}", full)
        return Pending(state.write(directory, snapshot, index, rank(), write_model))

    @torch.no_grad()
    def load_state(self, directory: Path) -> None:
        """Take over a state; every rank reads what it holds a part of."""
        found = state.State(directory)
        found.check_names(self._parameters)
        self._stage.set_steps(found.optimizer_steps)
        for name, parameter in self._parameters.items():
            for kind in state.KINDS:
                self._stage.set_full(parameter, kind, partial(found.tensor, kind, name, shape(parameter)))
        found.restore_rng(rank(), world_size())
        wait_for_all()

    def memory_bytes(self) -> int:
        """Return the peak of this rank's process or device."""
        return peak_memory_bytes(self._device)

    def close(self) -> None:
        """Leave the group of processes."""
        self._engine.destroy()
        leave()

    def _backward(self, batch: Batch, counts: dict[str, float]) -> Tensor:
        with self._autocast():
            sums = self._objective.sums(self._engine, batch)
        loss = weighted(sums, self._objective.weights, counts)
        # The mean over ranks is undone here: counts are of all ranks already.
        self._engine.backward(loss * world_size(), scale_wrt_gas=False)
        return loss.detach()

    def _autocast(self) -> AbstractContextManager[None]:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._precision == "bf16")


class Verdict:
    """Whether a step is applied, found once its norm is known: the rule of every engine."""

    def __init__(self, loss: Tensor, limit: float):
        self._loss, self._limit = loss, limit
        self.loss, self.grad_norm, self.applied = math.nan, math.nan, False

    def __call__(self, norm: Tensor) -> bool:
        """Judge by the norm before the clip, the same on every rank; one transfer for both figures."""
        figures = torch.stack([self._loss.to(norm.device, torch.float64), norm.to(torch.float64)])
        self.loss, grad_norm = figures.tolist()
        if grad_norm < 0:
            grad_norm = math.nan  # DeepSpeed's word for a norm that is not finite
        self.grad_norm = grad_norm if is_good(self.loss, grad_norm) else math.nan
        self.applied = is_good(self.loss, grad_norm, self._limit)
        return self.applied
