"""The `single` engine: a model on one device, stepped by one process."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.trainer import state
from pipeline.trainer.engine import (
    Batch,
    Loss,
    Losses,
    Objective,
    Pending,
    Precision,
    StepStats,
    counted,
    weighted,
)
from pipeline.trainer.hardware import peak_memory_bytes
from pipeline.trainer.optim import MOMENTS, AdamW, FusedAdamW, is_good


class Single:
    """The reference that every other engine equals."""

    def __init__(
        self, model: nn.Module, optim: AdamW, objective: Objective, precision: Precision, device: torch.device
    ):
        self._model, self._objective, self._precision, self._device = model, objective, precision, device
        self._parameters = dict(model.named_parameters())
        self._optimizer = FusedAdamW(self._parameters, optim)
        self._clip = optim.grad_clip

    def train_step(self, micro_batches: Sequence[Batch], lr: float) -> StepStats:
        """Accumulate, clip, update."""
        counts = counted(self._objective, micro_batches)
        self._model.train()
        losses = [self._backward(batch.to(self._device), counts) for batch in micro_batches]
        gradients = [parameter.grad for parameter in self._parameters.values() if parameter.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        # One transfer for both figures: on a GPU this is the only wait of the step.
        loss, grad_norm = torch.stack([torch.stack(losses).sum(), norm]).tolist()
        applied = is_good(loss, grad_norm)
        if applied:
            if 0 < self._clip < grad_norm + 1e-6:
                torch._foreach_mul_(gradients, self._clip / (grad_norm + 1e-6))
            self._optimizer.step(lr)
        for parameter in self._parameters.values():
            parameter.grad = None
        return StepStats(loss, grad_norm if applied else math.nan, int(max(counts.values())), applied)

    @torch.no_grad()
    def loss(self, batch: Batch) -> Losses:
        """Return the loss terms of a batch."""
        self._model.eval()
        counts = self._objective.counts(batch)
        with self._autocast():
            sums = self._objective.sums(self._model, batch.to(self._device))
        weights = self._objective.weights
        return {name: Loss(float(value), counts[name], weights[name]) for name, value in sums.items()}

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        """Return the model's outputs."""
        self._model.eval()
        with self._autocast():
            return self._objective.predict(self._model, batch.to(self._device))

    def weights(self) -> dict[str, Tensor]:
        """Return the weights on the CPU."""
        return {name: parameter.detach().cpu() for name, parameter in self._parameters.items()}

    def save_state(self, directory: Path) -> Pending:
        """Write weights, moments and generators."""
        tensors = {f"{state.WEIGHT}/{name}": tensor for name, tensor in self.weights().items()}
        for moment, values in self._optimizer.moments().items():
            tensors |= {f"{moment}/{name}": tensor.cpu() for name, tensor in values.items()}
        rng = state.rng_tensors(rank=0)
        owner = dict.fromkeys(self._parameters, 0)
        state.write_index(directory, self._optimizer.steps, owner, [list(rng)])
        return Pending(lambda: state.write_shard(directory, 0, 1, {**tensors, **rng}))

    @torch.no_grad()
    def load_state(self, directory: Path) -> None:
        """Take over weights, moments and generators."""
        found = state.State(directory)
        found.check_names(self._parameters)
        moments = self._optimizer.moments()
        for name, parameter in self._parameters.items():
            parameter.copy_(found.tensor(state.WEIGHT, name, parameter.shape))
            for moment in MOMENTS:
                moments[moment][name].copy_(found.tensor(moment, name, parameter.shape))
        self._optimizer.set_steps(found.optimizer_steps)
        found.restore_rng(rank=0, world_size=1)

    def memory_bytes(self) -> int:
        """Return the peak of this process or its device."""
        return peak_memory_bytes(self._device)

    def close(self) -> None:
        """Nothing to leave."""

    def _backward(self, batch: Batch, counts: dict[str, float]) -> Tensor:
        with self._autocast():
            sums = self._objective.sums(self._model, batch)
        loss = weighted(sums, self._objective.weights, counts)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _autocast(self) -> AbstractContextManager[None]:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._precision == "bf16")


def compile_blocks(model: nn.Module) -> None:
    """Compile each repeated block: one graph serves all of them, and start-up stays short."""
    for module in model.modules():
        if isinstance(module, nn.ModuleList):
            for block in module:
                block.compile()
