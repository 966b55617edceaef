"""What the processes of a job say to each other; alone, a process talks to itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist


def alone() -> bool:
    """Tell whether this process has nobody to talk to."""
    return not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1)


def total(values: Mapping[str, float], device: torch.device) -> dict[str, float]:
    """Return the sums of the values over all processes."""
    if alone():
        return dict(values)
    sums = torch.tensor(list(values.values()), dtype=torch.float64, device=device)
    dist.all_reduce(sums)
    return dict(zip(values, sums.tolist(), strict=True))


def from_first(value: Any) -> Any:
    """Return rank 0's value on every process."""
    if alone():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def gathered(value: Any) -> list[Any]:
    """Return every process's value, in the order of ranks, on every process."""
    if alone():
        return [value]
    values = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def wait_for_all() -> None:
    """Return when every process has come this far."""
    if not alone():
        dist.barrier()
