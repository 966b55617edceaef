"""The `deepspeed` engine: ZeRO behind our contract.

Parameters, gradients, their reduction and the moments are fp32 in every stage; with precision bf16 the
products run under our own autocast, as in `single`, so that the engines differ in rounding alone. The
learning rate, the normalisation and the rule for bad numbers are ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from launch.environment import rank, world_size
from pipeline.trainer import state
from pipeline.trainer.collective import gathered, total, wait_for_all
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
from pipeline.trainer.optim import MOMENTS, AdamW, is_good


class Zero:
    """ZeRO 1 to 3."""

    def __init__(
        self,
        deepspeed: Any,
        engine: Any,
        optim: AdamW,
        objective: Objective,
        precision: Precision,
        device: torch.device,
    ):
        self._deepspeed = deepspeed
        self._engine, self._objective, self._precision, self._device = engine, objective, precision, device
        self._clip = optim.grad_clip
        self._parameters = dict(engine.module.named_parameters())

    def train_step(self, micro_batches: Sequence[Batch], lr: float) -> StepStats:
        """Accumulate, clip, update."""
        counts = total(counted(self._objective, micro_batches), self._device)
        for group in self._engine.optimizer.param_groups:
            group["lr"] = lr
        self._engine.train()
        loss = 0.0
        for left, batch in enumerate(micro_batches, 1 - len(micro_batches)):
            self._engine.set_gradient_accumulation_boundary(left == 0)
            part = self._forward(batch, counts)
            loss += float(part.detach())
            if left == 0:
                loss = total({"loss": loss}, self._device)["loss"]
                if not math.isfinite(loss):
                    part = part * math.nan  # gradients may be finite all the same: make every rank skip
            # The mean over ranks is undone here: counts are of all ranks already.
            self._engine.backward(part * world_size(), scale_wrt_gas=False)
        grad_norm, applied = self._update(loss)
        return StepStats(loss, grad_norm if applied else math.nan, int(max(counts.values())), applied)

    @torch.no_grad()
    def loss(self, batch: Batch) -> Losses:
        """Return the loss terms over all ranks' batches."""
        self._engine.eval()
        with self._autocast():
            sums = self._objective.sums(self._engine, batch.to(self._device))
        counts = {f"count {name}": float(count) for name, count in self._objective.counts(batch).items()}
        values = total({**counts, **{name: float(value) for name, value in sums.items()}}, self._device)
        weights = self._objective.weights
        return {name: Loss(values[name], int(values[f"count {name}"]), weights[name]) for name in sums}

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        """Return the model's outputs for this rank's batch."""
        self._engine.eval()
        with self._autocast():
            return self._objective.predict(self._engine, batch.to(self._device))

    def weights(self) -> dict[str, Tensor] | None:
        """Return the full weights on rank 0's CPU."""
        full = {
            name: tensor.cpu()
            for name, parameter in self._parameters.items()
            if (tensor := self._full(parameter, state.WEIGHT)) is not None and rank() == 0
        }
        return full if rank() == 0 else None

    def save_state(self, directory: Path) -> Pending:
        """Gather tensor by tensor, keep what this rank writes, and write it."""
        self._make_moments(self._steps())
        owner = state.owners({name: _shape(p).numel() for name, p in self._parameters.items()}, world_size())
        mine: dict[str, Tensor] = {}
        for name, parameter in self._parameters.items():
            for kind in state.KINDS:
                tensor = self._full(parameter, kind)
                if owner[name] == rank():
                    mine[f"{kind}/{name}"] = tensor.detach().cpu().clone()
        rng = state.rng_tensors(rank())
        names = gathered(list(rng))
        if rank() == 0:
            state.write_index(directory, self._steps(), owner, names)
        return Pending(lambda: state.write_shard(directory, rank(), world_size(), {**mine, **rng}))

    @torch.no_grad()
    def load_state(self, directory: Path) -> None:
        """Take over a state; every rank reads what it holds a part of."""
        found = state.State(directory)
        found.check_names(self._parameters)
        self._make_moments(found.optimizer_steps)
        for name, parameter in self._parameters.items():
            for kind in state.KINDS:
                self._set_full(parameter, kind, found.tensor(kind, name, _shape(parameter)).to(self._device))
        found.restore_rng(rank(), world_size())
        wait_for_all()

    def memory_bytes(self) -> int:
        """Return the peak of this rank's process or device."""
        return peak_memory_bytes(self._device)

    def close(self) -> None:
        """Leave the group of processes."""
        self._engine.destroy()
        if dist.is_initialized():
            dist.destroy_process_group()

    def _forward(self, batch: Batch, counts: dict[str, float]) -> Tensor:
        with self._autocast():
            sums = self._objective.sums(self._engine, batch.to(self._device))
        return weighted(sums, self._objective.weights, counts)

    def _update(self, loss: float) -> tuple[float, bool]:  # noqa: ARG002 - ZeRO 1 to 3 judge by the gradients
        """Clip and update; return the norm before the clip, and whether the step was applied."""
        self._engine.step()
        applied = bool(self._engine.was_step_applied())
        return (float(self._engine.get_global_grad_norm()) if applied else math.nan), applied

    def _full(self, parameter: nn.Parameter, kind: str) -> Any:
        if kind == state.WEIGHT:
            return self._deepspeed.utils.safe_get_full_fp32_param(parameter)
        return self._deepspeed.utils.safe_get_full_optimizer_state(parameter, kind)

    def _set_full(self, parameter: nn.Parameter, kind: str, value: Tensor) -> None:
        if kind != state.WEIGHT:
            self._deepspeed.utils.safe_set_full_optimizer_state(parameter, value, kind)
            return
        self._deepspeed.utils.safe_set_full_fp32_param(parameter, value)
        # The copy that the forward pass uses is another one.
        with self._deepspeed.zero.GatheredParameters([parameter], modifier_rank=0):
            parameter.data.copy_(value)

    def _steps(self) -> int:
        states = [self._engine.optimizer.optimizer.state.get(tensor) for tensor in self._flat_tensors()]
        return int(states[0]["step"]) if states and states[0] else 0

    def _flat_tensors(self) -> list[Tensor]:
        """Return the tensors that the wrapped optimizer updates: this rank's part of each group."""
        optimizer = self._engine.optimizer
        stage3: list[Tensor] | None = getattr(optimizer, "fp32_partitioned_groups_flat", None)
        return stage3 if stage3 is not None else list(optimizer.single_partition_of_fp32_groups)

    def _make_moments(self, steps: int) -> None:
        """Give the wrapped optimizer the tensors it makes itself at its first step, and set its count."""
        optimizer = self._engine.optimizer
        for tensor in self._flat_tensors():
            moments = optimizer.optimizer.state[tensor]
            for moment in MOMENTS:
                moments.setdefault(moment, torch.zeros_like(tensor))
            moments["step"] = torch.tensor(float(steps), device=tensor.device)
        if hasattr(optimizer, "_lazy_init_hp_params_optimizer_state"):
            # DeepSpeed links parameters to moments once, after the first group's first step, when the second
            # group has none yet: link again.
            optimizer._hp_optimizer_states_linked = False
            optimizer._lazy_init_hp_params_optimizer_state()

    def _autocast(self) -> AbstractContextManager[None]:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._precision == "bf16")


class PlainZero(Zero):
    """ZeRO 0: gradients are averaged, nothing is sharded; norm, clip and rule are as in `single`."""

    def _update(self, loss: float) -> tuple[float, bool]:
        gradients = [parameter.grad for parameter in self._gradients() if parameter.grad is not None]
        grad_norm = float(nn.utils.get_total_norm(gradients))
        applied = is_good(loss, grad_norm)
        for parameter in self._gradients():
            if not applied:
                parameter.grad = None  # an optimizer leaves a parameter without gradient as it is
        if applied and 0 < self._clip < grad_norm + 1e-6:
            torch._foreach_mul_(gradients, self._clip / (grad_norm + 1e-6))
        self._engine.step()
        return grad_norm, applied

    def _gradients(self) -> Iterator[nn.Parameter]:
        return (parameter for parameter in self._parameters.values() if parameter.grad is not None)

    def _full(self, parameter: nn.Parameter, kind: str) -> Any:
        return parameter.detach() if kind == state.WEIGHT else self._engine.optimizer.state[parameter][kind]

    def _set_full(self, parameter: nn.Parameter, kind: str, value: Tensor) -> None:
        self._full(parameter, kind).copy_(value)

    def _steps(self) -> int:
        first = next(iter(self._parameters.values()))
        moments = self._engine.optimizer.state.get(first)
        return int(moments["step"]) if moments else 0

    def _make_moments(self, steps: int) -> None:
        for parameter in self._parameters.values():
            moments = self._engine.optimizer.state[parameter]
            for moment in MOMENTS:
                moments.setdefault(moment, torch.zeros_like(parameter))
            moments["step"] = torch.tensor(float(steps), device=parameter.device)


def _shape(parameter: nn.Parameter) -> torch.Size:
    """Return a parameter's full shape; ZeRO 3 leaves an empty tensor in its place."""
    return torch.Size(getattr(parameter, "ds_shape", parameter.shape))
