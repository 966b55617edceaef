"""Whether a run fits into the memory of the machine it is about to start on, before anything is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from launch.environment import local_rank, local_world_size
from pipeline.errors import ConfigError
from pipeline.train.estimate import USABLE, Hardware, Need
from pipeline.train.telling import listed
from pipeline.trainer.gpus import GB


def refuse_what_cannot_fit(
    need_on: Callable[[Literal["cpu", "cuda"]], Need], engine: Any, sequences: int, hardware: Hardware
) -> None:
    """Raise ConfigError if the predicted peak is more than the engine's device has free, less a margin.

    `need_on` gives what is needed on a kind of device. `hardware.memory_gb` takes the place of what is found:
    what is free and, on a CPU, what this process has taken to come this far. The processes of a node share a
    CPU's memory, and the first speaks for all of them, before any has taken its part.
    """
    from pipeline.trainer.hardware import available_memory_bytes, choose_device, resident_bytes

    device = choose_device(engine.device)
    sharing = local_world_size() if device.type == "cpu" else 1
    if sharing > 1 and local_rank() > 0:
        return
    if hardware.memory_gb:
        free = int(hardware.memory_gb * GB)
    else:
        free = available_memory_bytes(device) + (resident_bytes() if device.type == "cpu" else 0)
    refuse(need_on("cuda" if device.type == "cuda" else "cpu"), engine, sequences, free / sharing)


def refuse(need: Need, engine: Any, sequences: int, free_bytes: float) -> None:
    """Raise ConfigError if a process's predicted peak is more than its part of what is free."""
    memory = need.memory(engine, sequences)
    limit = free_bytes * USABLE
    if memory.total <= limit:
        return
    what = "GPU" if need.device == "cuda" else "process"
    raise ConfigError(
        [
            f"micro_batch_sequences: {sequences} sequences of {need.sequence_tokens:,} tokens need"
            f" {memory.total / GB:.2f} GB on each {what}, but {free_bytes / GB:.2f} GB are free for it, of"
            f" which {USABLE:.0%} can be planned for",
            f"  largest parts: {', '.join(listed(memory, 4))}",
            *(f"  {remedy}" for remedy in remedies(need, engine, limit)),
            "  `loglinear plan` shows all parts and other engines; hardware.memory_gb overrules what is free",
        ]
    )


def remedies(need: Need, engine: Any, limit: float) -> list[str]:
    """Return what would make a run fit, most convenient first."""
    found = []
    largest = need.largest(engine, limit)
    if largest:
        found.append(
            f"remedy: micro_batch_sequences={largest}, the largest that fits; the steps stay the same"
        )
    if not engine.activation_checkpointing:
        slower = engine.model_copy(update={"activation_checkpointing": True})
        with_it = need.largest(slower, limit)
        if with_it > largest:
            found.append(
                f"remedy: engine.activation_checkpointing=true, with micro_batch_sequences={with_it} at most"
            )
    if need.staged and not largest:
        found.append("remedy: checkpoint.asynchronous=false, whose copies are then gone before the next step")
    if not found:
        found.append(
            "remedy: an engine that shards over more processes (fsdp2, deepspeed), or a smaller model"
        )
    return found
