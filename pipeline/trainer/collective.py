"""What the processes of a job say to each other; alone, a process talks to itself."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from launch.environment import rank, world_size

LOOPBACK = "127.0.0.1"


def join(device: torch.device, patience_seconds: float | None = None) -> None:
    """Meet the job's other processes: over gloo, and between GPUs over NCCL; once a process.

    Nobody waits for the others longer than `patience_seconds`, here or later; None is torch's own limit.
    """
    if dist.is_initialized():
        return
    on_gpu = device.type == "cuda"
    settings: dict[str, Any] = {"backend": "cpu:gloo,cuda:nccl" if on_gpu else "gloo"}
    if patience_seconds is not None:
        settings["timeout"] = timedelta(seconds=patience_seconds)
    if on_gpu:
        settings["device_id"] = device
    if "MASTER_ADDR" not in os.environ:
        # Nobody has started several processes: this one needs no port to meet itself.
        settings |= {"store": dist.HashStore(), "rank": 0, "world_size": 1}  # type: ignore[attr-defined]
    elif is_of_this_node():
        settings |= {"store": _store(patience_seconds), "rank": rank(), "world_size": world_size()}
    dist.init_process_group(**settings)


def is_of_this_node() -> bool:
    """Tell whether the ranks meet at a store of their own on this node's loopback."""
    of_the_launcher = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return os.environ["MASTER_ADDR"] in ("localhost", LOOPBACK) and not of_the_launcher


def _store(patience_seconds: float | None) -> Any:
    """Return the store at which the ranks of one node meet; torch's own would listen on every interface."""
    port = int(os.environ["MASTER_PORT"])
    options: dict[str, Any] = (
        {} if patience_seconds is None else {"timeout": timedelta(seconds=patience_seconds)}
    )
    if rank() == 0:
        options["master_listen_fd"] = socket.create_server((LOOPBACK, port)).detach()
    return dist.TCPStore(LOOPBACK, port, world_size(), rank() == 0, **options)  # type: ignore[attr-defined]


def leave() -> None:
    """Leave the group of processes, if this one has joined any."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def alone() -> bool:
    """Tell whether this process has nobody to talk to."""
    return not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1)


def total(values: Mapping[str, float]) -> dict[str, float]:
    """Return the sums of the values over all processes; over gloo, so that a GPU need not run dry for it."""
    if alone():
        return dict(values)
    sums = torch.tensor(list(values.values()), dtype=torch.float64)
    dist.all_reduce(sums)
    return dict(zip(values, sums.tolist(), strict=True))


def largest(values: Sequence[int]) -> list[int]:
    """Return the largest of each number over all processes: a few bytes, for what is asked at every step."""
    if alone():
        return list(values)
    found = torch.tensor(values, dtype=torch.int64)  # on the CPU, where gloo answers whatever the device
    dist.all_reduce(found, op=dist.ReduceOp.MAX)
    return [int(value) for value in found.tolist()]


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
