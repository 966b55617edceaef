"""Real models under torch's own memory trackers: what the formulas are held against."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from torch.utils._python_dispatch import TorchDispatchMode

from model.transformer import GPT
from pipeline.trainer.memory import Pass


class Answers(TorchDispatchMode):
    """Gives tensors without storage a value where a program asks for one: every number is 1."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._local_scalar_dense.default:
            return 1.0
        return func(*args, **(kwargs or {}))


@contextmanager
def without_storage() -> Iterator[None]:
    with FakeTensorMode(allow_non_fake_inputs=True), Answers():
        yield


def network(run: Pass) -> GPT:
    model = GPT(run.model).train()
    model.checkpoint_activations = run.checkpointing
    return model


def loss_of(model: GPT, run: Pass) -> Tensor:
    ids = torch.zeros(run.sequences, run.sequence_tokens, dtype=torch.int64)
    with torch.autocast("cpu", torch.bfloat16, enabled=run.precision == "bf16"):
        return model(ids, ids, ids if run.documents else None)


def optimizer_of(model: GPT) -> torch.optim.Optimizer:
    """Return AdamW with its moments there, as they are from the second step on."""
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    for parameter in model.parameters():
        moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
        optimizer.state[parameter] = {"step": torch.zeros(()), **moments}
    return optimizer


def bytes_kept_for_backward(run: Pass) -> int:
    """Return the bytes of all storages that autograd keeps after a forward pass, without the weights'."""
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    model = network(run)
    weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss_of(model, run)
    return sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in weights)


def tracked_step(run: Pass) -> dict[str, int]:
    """Return torch's itemised peak of a step on one process, in bytes."""
    model = network(run)
    optimizer = optimizer_of(model)
    tracker = MemTracker()
    tracker.track_external(model, optimizer)
    with tracker:
        for _ in range(2 if run.accumulates else 1):
            loss_of(model, run).backward()
            tracker.memory_tracking.clear()  # it knows of one pass alone
        optimizer.step()
    return by_name(tracker)


def by_name(tracker: MemTracker) -> dict[str, int]:
    (items,) = tracker.get_tracker_snapshot("peak").values()
    return {name if isinstance(name, str) else name.value: size for name, size in items.items()}
