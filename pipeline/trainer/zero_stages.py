"""What differs between ZeRO's stages: where the gradients' norm, the weights and the moments are.

Each class here steps a DeepSpeed engine and reads and writes full tensors by parameter. `decide`, given the
norm before the clip, says whether a step is applied, the same on every rank.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from launch.environment import rank
from pipeline.trainer import state
from pipeline.trainer.engine import Precision
from pipeline.trainer.optim import MOMENTS

Decide = Callable[[Tensor], bool]
INVALID_NORM = -1.0  # DeepSpeed's own word for a norm that is not finite: it clears the gradients and goes on


class Stage(Protocol):
    """A stage of ZeRO around one DeepSpeed engine."""

    def step(self, decide: Decide) -> None:
        """Clip and update, or drop the gradients; collective."""

    def full(self, parameter: nn.Parameter, kind: str) -> Tensor:
        """Return a full tensor of a parameter, perhaps the live one; collective where it is sharded."""

    def set_full(self, parameter: nn.Parameter, kind: str, read: Callable[[], Tensor]) -> None:
        """Take over a full tensor; `read` is called where this rank holds a part of it. Collective."""

    def steps(self) -> int:
        """Return how many steps were applied."""

    def set_steps(self, steps: int) -> None:
        """Make the moments that the optimizer makes at its first step, and go on counting from `steps`."""


class Replicated:
    """ZeRO 0: every rank holds everything; norm and clip are ours, as in `single`."""

    def __init__(self, engine: Any, clip: float):
        self._engine, self._optimizer, self._clip = engine, engine.optimizer, clip
        self._parameters = list(engine.module.parameters())

    def step(self, decide: Decide) -> None:
        """Clip and update, or drop the gradients."""
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if not decide(norm):
            for parameter in self._parameters:
                parameter.grad = None  # an optimizer leaves a parameter without gradient as it is
        elif 0 < self._clip < float(norm) + 1e-6:
            torch._foreach_mul_(gradients, self._clip / (float(norm) + 1e-6))
        self._engine.step()

    def full(self, parameter: nn.Parameter, kind: str) -> Tensor:
        """Return the live tensor."""
        if kind == state.WEIGHT:
            return parameter.detach()
        moment: Tensor = self._optimizer.state[parameter][kind]
        return moment

    def set_full(self, parameter: nn.Parameter, kind: str, read: Callable[[], Tensor]) -> None:
        """Take over a full tensor."""
        self.full(parameter, kind).copy_(read())

    def steps(self) -> int:
        """Return how many steps were applied."""
        return _steps(self._optimizer, self._parameters)

    def set_steps(self, steps: int) -> None:
        """Make missing moments and set the count."""
        _set_steps(self._optimizer, self._parameters, steps)


class ShardedOptimizer:
    """ZeRO 1 and 2: every rank holds the weights; of the moments, flat over all parameters, a part."""

    def __init__(self, deepspeed: Any, engine: Any):
        self._deepspeed, self._engine, self._optimizer = deepspeed, engine, engine.optimizer
        self._decide: Decide = _finite
        self._measure = self._optimizer.scaled_global_norm
        # The one place where DeepSpeed judges a step itself: it asks for the norm, after the reduction and
        # before the clip, and an invalid one makes it drop the step. A judgement from outside would have to
        # take the norm a second time and to clear what DeepSpeed keeps of the gradients.
        self._optimizer.scaled_global_norm = self._judged_norm

    def step(self, decide: Decide) -> None:
        """Clip and update, or drop the gradients."""
        self._decide = decide
        self._engine.step()

    def full(self, parameter: nn.Parameter, kind: str) -> Tensor:
        """Return the live weight, which is the master's equal in fp32, or a gathered moment."""
        if kind == state.WEIGHT:
            return parameter.detach()
        gathered: Tensor = self._deepspeed.utils.safe_get_full_optimizer_state(parameter, kind)
        return gathered

    def set_full(self, parameter: nn.Parameter, kind: str, read: Callable[[], Tensor]) -> None:
        """Take over a full tensor, or this rank's part of it."""
        if kind == state.WEIGHT:
            value = read()
            parameter.data.copy_(value)
            self._deepspeed.utils.safe_set_full_fp32_param(parameter, value)
        elif parameter._hp_mapping is not None:  # type: ignore[attr-defined] # this rank holds some of it
            self._deepspeed.utils.safe_set_full_optimizer_state(parameter, read(), kind)

    def steps(self) -> int:
        """Return how many steps were applied."""
        return _steps(self._optimizer.optimizer, self._optimizer.single_partition_of_fp32_groups)

    def set_steps(self, steps: int) -> None:
        """Make missing moments and set the count."""
        _set_steps(self._optimizer.optimizer, self._optimizer.single_partition_of_fp32_groups, steps)
        # DeepSpeed links parameters to moments once, after the first group's first step, when the second
        # group has none yet: link again.
        self._optimizer._hp_optimizer_states_linked = False
        self._optimizer._lazy_init_hp_params_optimizer_state()

    def _judged_norm(self) -> Tensor:
        norm: Tensor = self._measure()
        return norm if self._decide(norm) else torch.full_like(norm, INVALID_NORM)


class ShardedWeights:
    """ZeRO 3: every rank holds a part of each weight and of each moment."""

    def __init__(self, deepspeed: Any, engine: Any, precision: Precision):
        self._deepspeed, self._engine, self._optimizer = deepspeed, engine, engine.optimizer
        if precision == "bf16":
            self._gather_in_bf16()
        self._decide: Decide = _finite
        self._measure = self._optimizer._get_norm_groups
        self._optimizer._get_norm_groups = self._judged_norms  # the same place as in ZeRO 1 and 2

    def step(self, decide: Decide) -> None:
        """Clip and update, or drop the gradients."""
        self._decide = decide
        self._engine.step()

    def full(self, parameter: nn.Parameter, kind: str) -> Tensor:
        """Return a gathered tensor."""
        if kind == state.WEIGHT:
            gathered: Tensor = self._deepspeed.utils.safe_get_full_fp32_param(parameter)
        else:
            gathered = self._deepspeed.utils.safe_get_full_optimizer_state(parameter, kind)
        return gathered

    def set_full(self, parameter: nn.Parameter, kind: str, read: Callable[[], Tensor]) -> None:
        """Take over this rank's part of a full tensor."""
        if kind != state.WEIGHT:
            self._deepspeed.utils.safe_set_full_optimizer_state(parameter, read(), kind)
            return
        value = read()
        self._deepspeed.utils.safe_set_full_fp32_param(parameter, value)
        # The copy that the forward pass uses may be another one; small weights are whole on every rank.
        with self._deepspeed.zero.GatheredParameters([parameter], modifier_rank=0):
            if rank() == 0:
                parameter.data.copy_(value)

    def steps(self) -> int:
        """Return how many steps were applied."""
        return _steps(self._optimizer.optimizer, self._optimizer.fp32_partitioned_groups_flat)

    def set_steps(self, steps: int) -> None:
        """Make missing moments and set the count."""
        _set_steps(self._optimizer.optimizer, self._optimizer.fp32_partitioned_groups_flat, steps)

    def _gather_in_bf16(self) -> None:
        """Halve what is gathered: products round the blocks' matrices to bf16 anyway.

        DeepSpeed has one type for gathering a weight and for reducing its gradient; the latter stays fp32.
        Norms, biases and embeddings, which are more than factors of products, are gathered as they are.
        """
        attribute = self._deepspeed.runtime.torch_autocast.PARAM_COMM_DTYPE_ATTR_NAME
        for module in self._engine.module.modules():
            if isinstance(module, nn.ModuleList):
                for parameter in module.parameters():
                    if len(shape(parameter)) >= 2 and not parameter.ds_persist:  # type: ignore[attr-defined]
                        setattr(parameter, attribute, torch.bfloat16)
        self._optimizer.get_param_comm_dtype = lambda parameter: torch.float32  # noqa: ARG005 - its signature

    def _judged_norms(self) -> list[Tensor]:
        norm: Tensor = self._deepspeed.runtime.utils.combine_grad_norm_groups(self._measure())
        return [norm if self._decide(norm) else torch.full_like(norm, INVALID_NORM)]


def gather_by_block(deepspeed: Any, model: nn.Module, compiled: bool) -> None:
    """Let ZeRO 3 gather and reduce each repeated block whole, compiled or not.

    Else every layer has hooks of its own, which cost more than they save at our sizes, and which a compiled
    block would contain: the compiler traces them anew for each layer and gives up. Here they stay outside.
    """
    for module in model.modules():
        if isinstance(module, nn.ModuleList):
            for block in module:
                deepspeed.utils.set_z3_leaf_module(block, True)
                if compiled:
                    block.forward = torch.compile(block.forward)


def shape(parameter: nn.Parameter) -> torch.Size:
    """Return a parameter's full shape; ZeRO 3 leaves an empty tensor in its place."""
    return torch.Size(getattr(parameter, "ds_shape", parameter.shape))


def _finite(norm: Tensor) -> bool:
    return bool(norm.isfinite())


def _steps(optimizer: Any, tensors: Sequence[Tensor]) -> int:
    moments = optimizer.state.get(tensors[0])
    return int(moments["step"]) if moments else 0


def _set_steps(optimizer: Any, tensors: Sequence[Tensor], steps: int) -> None:
    for tensor in tensors:
        moments = optimizer.state[tensor]
        for moment in MOMENTS:
            moments.setdefault(moment, torch.zeros_like(tensor, requires_grad=False))
        moments["step"] = torch.tensor(float(steps), device=tensor.device)
