"""The `fsdp2` engine: `torch.distributed.fsdp.fully_shard` on each block and the rest, moments on shards.

Sharding. A block is one group, gathered before its forward pass and before its backward pass; embeddings and
final norm are the root's group, where the tied token embedding must be, and stay whole between the passes.

Precision bf16. The shards, their gradients, the sums over processes and over micro-batches, and the moments
are fp32. Blocks are gathered in bf16: half the traffic, and what the backward pass needs of a weight is the
gathered tensor, which resharding frees; autocast over weights gathered in fp32 would keep its own bf16 copy
of every block. The root's group is gathered in fp32, because the residual stream starts from it and the head
rounds it itself. What is computed in which type is left to autocast, as in `single`, and the inputs of
blocks are not cast: products see the same bf16 weights as there, the residual stream and the norms'
arithmetic stay fp32, and the one difference is that gains and biases of the blocks' norms are rounded.

Accumulation. With `reshard` everything is kept small: every micro-batch gathers twice and scatters its
gradients. Without, weights are gathered once a step and gradients, accumulated whole in fp32, scattered once
a step. Replicas are always summed once a step.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
)
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn import functional

from launch.environment import world_size
from pipeline.trainer.engine import Objective, Precision
from pipeline.trainer.optim import AdamW
from pipeline.trainer.single import Single


class Sharded(Single):
    """`single` on shards: FSDP gathers weights and scatters gradients, all else is on local tensors."""

    def __init__(
        self,
        model: nn.Module,
        optim: AdamW,
        objective: Objective,
        precision: Precision,
        device: torch.device,
        *,
        reshard: bool,
        replicas: int,
        offload: bool,
    ):
        mesh = mesh_of(device, replicas)
        shard(model, mesh, precision, reshard=reshard, offload=offload)
        self._root, self._reshard, self._replicas = cast(FSDPModule, model), reshard, replicas
        super().__init__(model, optim, objective, precision, device)

    def load_state(self, directory: Path) -> None:
        """Take over a state; whole weights that a validation has left gathered are dropped."""
        super().load_state(directory)
        for module in _sharded_modules(self._model):
            module.reshard()

    def _parts(self) -> dict[str, Tensor]:
        return {name: _local(parameter.detach()) for name, parameter in self._parameters.items()}

    def _whole(self, name: str, part: Tensor) -> Tensor:
        like = cast(DTensor, self._parameters[name])
        # Offloaded parts visit the device: there is no gathering between GPUs from the CPU's memory.
        found = DTensor.from_local(
            part.to(self._device),
            like.device_mesh,
            like.placements,
            run_check=False,
            shape=like.shape,
            stride=like.stride(),
        )
        return found.full_tensor()

    def _part(self, name: str, whole: Tensor) -> Tensor:
        like = cast(DTensor, self._parameters[name])
        # Every process has read the same tensor: each takes its own part and nothing is sent.
        found = distribute_tensor(
            whole.to(self._device), like.device_mesh, like.placements, src_data_rank=None
        )
        return _local(found)

    def _expect_pass(self, is_last: bool) -> None:
        if self._reshard:
            self._root.set_requires_all_reduce(is_last)
        else:
            self._root.set_requires_gradient_sync(is_last)
            self._root.set_reshard_after_backward(is_last)

    def _gradients(self) -> dict[str, Tensor]:
        return {name: _local(gradient) for name, gradient in super()._gradients().items()}

    def _summed(self, loss: Tensor, norm: Tensor) -> tuple[Tensor, Tensor]:
        # fp64: a square of what fp32 holds may be more than fp32 holds.
        both = torch.stack([loss.double(), norm.to(loss.device).double().square() / self._replicas])
        dist.all_reduce(both)
        return both[0].float(), both[1].sqrt().float()


class WideNorm(nn.LayerNorm):
    """A norm in the type of its input, whatever its gain and bias were gathered in.

    Autocast does the same on a GPU; on a CPU it leaves norms alone, and two types are refused.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the normed states, shaped like x."""
        gain, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return functional.layer_norm(x, self.normalized_shape, gain, bias, self.eps)


def mesh_of(device: torch.device, replicas: int) -> DeviceMesh:
    """Return all processes as one row of shards, or as `replicas` rows; neighbours are in the same row."""
    if replicas == 1:
        return init_device_mesh(device.type, (world_size(),), mesh_dim_names=("shard",))
    shape = (replicas, world_size() // replicas)
    return init_device_mesh(device.type, shape, mesh_dim_names=("replicate", "shard"))


def shard(model: nn.Module, mesh: DeviceMesh, precision: Precision, *, reshard: bool, offload: bool) -> None:
    """Shard the model in place: each block of its lists of modules, then the rest."""
    keep = OffloadPolicy()
    if offload:
        keep = CPUOffloadPolicy(pin_memory=mesh.device_type == "cuda")
    narrow = torch.bfloat16 if precision == "bf16" else None
    if narrow:
        for norm in (module for module in model.modules() if type(module) is nn.LayerNorm):
            norm.__class__ = WideNorm  # a class for all, so that compiled blocks still share their code
    policy = MixedPrecisionPolicy(param_dtype=narrow, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for blocks in (module for module in model.modules() if isinstance(module, nn.ModuleList)):
        for block in blocks:
            # The last one is needed again at once, first of all in the backward pass.
            again = reshard and block is not blocks[-1]
            fully_shard(block, mesh=mesh, reshard_after_forward=again, mp_policy=policy, offload_policy=keep)
        # The next block is on its way while one computes, even where launching kernels is what takes time.
        for earlier, later in pairwise(cast(Iterable[FSDPModule], blocks)):
            earlier.set_modules_to_forward_prefetch([later])
    whole = MixedPrecisionPolicy(reduce_dtype=torch.float32, cast_forward_inputs=False)
    fully_shard(model, mesh=mesh, reshard_after_forward=False, mp_policy=whole, offload_policy=keep)
    for module in _sharded_modules(model):
        # Losses are over the counts of all processes already: gradients are summed, not averaged.
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)


def _sharded_modules(model: nn.Module) -> list[FSDPModule]:
    return [module for module in model.modules() if isinstance(module, FSDPModule)]


def _local(tensor: Tensor) -> Tensor:
    """Return this process's part of a distributed tensor, sharing its memory."""
    part: Tensor = cast(DTensor, tensor).to_local()
    return part
