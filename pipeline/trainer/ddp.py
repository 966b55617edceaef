"""The `ddp` engine: all of the model on every process, gradients summed while the backward pass goes on.

The buckets are ours and not those of `torch.nn.parallel.DistributedDataParallel`, for two reasons. It lays
its buckets out anew after a process's first step, and where a gradient lies in a bucket decides in which
order more than two processes' summands are added: a resumed run would part from the undisturbed one in the
last bits. And it averages, where our counts are of all processes already. Weights are not sent around:
every process has built the same ones from the same seed, or read them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pipeline.trainer.collective import alone
from pipeline.trainer.engine import Objective, Precision
from pipeline.trainer.optim import AdamW
from pipeline.trainer.single import Single

BUCKET_BYTES = 32 * 2**20
"""Large enough for the network's full bandwidth, small enough that the first sum starts early."""


class Replicated(Single):
    """`single` on every process, with gradients summed in the step's last backward pass."""

    def __init__(
        self, model: nn.Module, optim: AdamW, objective: Objective, precision: Precision, device: torch.device
    ):
        super().__init__(model, optim, objective, precision, device)
        self._sums = None if alone() else Sums(self._parameters.values())

    def _expect_pass(self, is_last: bool) -> None:
        if is_last and self._sums is not None:
            self._sums.begin()

    def _gradients(self) -> dict[str, Tensor]:
        if self._sums is not None:
            self._sums.finish()
        return super()._gradients()

    def _summed(self, loss: Tensor, norm: Tensor) -> tuple[Tensor, Tensor]:
        # The gradients are the same on every process to the last bit, and so is their norm.
        if self._sums is not None:
            dist.all_reduce(loss)
        return loss, norm


class Sums:
    """Gradients summed over all processes, bucket by bucket as a backward pass completes them."""

    def __init__(self, parameters: Iterable[nn.Parameter]):
        # A backward pass makes gradients in about the reverse order of the parameters' definition.
        self.buckets = _buckets([p for p in reversed(list(parameters)) if p.requires_grad])
        self._bucket_of = {p: number for number, bucket in enumerate(self.buckets) for p in bucket}
        self._missing: list[int] = []
        self._running: list[Any] = []
        for parameter in self._bucket_of:
            parameter.register_post_accumulate_grad_hook(self._complete)  # type: ignore[no-untyped-call]

    def begin(self) -> None:
        """Sum what the next backward pass completes."""
        self._missing = [len(bucket) for bucket in self.buckets]

    def finish(self) -> None:
        """Let the gradients be used only once they are summed; on a GPU nobody waits here."""
        assert len(self._running) == len(self.buckets), "a parameter has no gradient"
        for work in self._running:
            work.wait()
        self._missing, self._running = [], []

    def _complete(self, parameter: nn.Parameter) -> None:
        if not self._missing:
            return
        self._missing[self._bucket_of[parameter]] -= 1
        # In the same order on all processes, whatever the order in which buckets fill.
        while len(self._running) < len(self.buckets) and not self._missing[len(self._running)]:
            self._running.append(_start_sum(self.buckets[len(self._running)]))


def _start_sum(bucket: list[nn.Parameter]) -> Any:
    """Gather a bucket's gradients into one tensor, which they then are views of, and start its sum."""
    flat = torch.cat([parameter.grad.reshape(-1) for parameter in bucket if parameter.grad is not None])
    parts = torch.split(flat, [parameter.numel() for parameter in bucket])
    for parameter, part in zip(bucket, parts, strict=True):
        parameter.grad = part.view_as(parameter)
    return dist.all_reduce(flat, async_op=True)


def _buckets(parameters: list[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Return the parameters in order, a new bucket beginning where one would grow too large."""
    buckets: list[list[nn.Parameter]] = []
    held_bytes = 0
    for parameter in parameters:
        held_bytes += parameter.nbytes
        if not buckets or held_bytes > BUCKET_BYTES:
            buckets.append([])
            held_bytes = parameter.nbytes
        buckets[-1].append(parameter)
    return buckets
