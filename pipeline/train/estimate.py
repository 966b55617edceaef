"""What a run needs of a machine: memory item by item, the largest micro-batch, hours and price; no torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import pydantic

from model.config import FLOPS_FORMULAS, FlopsFormula, GPTConfig, flops_per_token, parameters
from pipeline.config import Schema, did_you_mean, execution, kind_name
from pipeline.errors import ConfigError
from pipeline.trainer import sharding
from pipeline.trainer.gpus import GB, GPUS
from pipeline.trainer.memory import FP32, Held, Memory, Pass, at_each_moment

FLOPS_FORMULA: FlopsFormula = "6N_matmul + 6LdT"
USABLE = 0.9
"""The part of a device's memory that a plan fills: CUDA, NCCL and what lies between tensors take the rest."""

# What llm.c reaches on eight H100s at 124M and at 1,558M parameters, by this formula; between them by the
# logarithm of the size. Smaller models and other GPUs do not reach it: measure and say `hardware.mfu`.
MFU_SMALL, MFU_LARGE = (124e6, 0.40), (1558e6, 0.48)


class Hardware(Schema):
    """The machine a plan is made for. Training itself takes the machine it finds."""

    gpu: str | None = execution(None, description="name of a GPU: " + ", ".join(GPUS))
    count: int | None = execution(None, ge=1, description="GPUs, one process each")
    mfu: float | None = execution(
        None, gt=0, le=1, description="share of the GPU's peak that is reached; default: what llm.c reaches"
    )
    price_per_gpu_hour: float | None = execution(None, ge=0, description="in any currency")
    memory_gb: float | None = execution(
        None, gt=0, description="memory of one device in 10^9 bytes; default: the GPU's, or what is free"
    )

    @pydantic.field_validator("gpu")
    @classmethod
    def _known(cls, gpu: str | None) -> str | None:
        if gpu is not None and gpu not in GPUS:
            known = ", ".join(GPUS)
            raise ValueError(f"{gpu}: no such GPU{did_you_mean(gpu, list(GPUS))}; there are {known}")
        return gpu

    @property
    def memory_bytes(self) -> int | None:
        """Return the memory of one device, None where it is not known."""
        if self.memory_gb is not None:
            return int(self.memory_gb * GB)
        return GPUS[self.gpu].memory_bytes if self.gpu else None


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How long training takes at a share of a GPU's peak, and what that costs where a price is given."""

    peak: str
    mfu: float
    mfu_from: str
    tokens_per_second: float
    hours: float
    price: float | None


@dataclass(frozen=True, kw_only=True)
class Need:
    """What one process of a job is asked to do, for any engine and micro-batch: see `memory`.

    `rows` sequences a step are its share; `staged` says that it trains on while a checkpoint is written.
    """

    model: GPTConfig
    sequence_tokens: int
    rows: int
    precision: str
    device: Literal["cpu", "cuda"]
    documents: bool
    processes: int
    staged: bool

    def memory(self, engine: Any, sequences: int) -> Memory:
        """Return the peak of one process with micro-batches of so many sequences."""
        run = Pass(
            model=self.model,
            sequences=sequences,
            sequence_tokens=self.sequence_tokens,
            precision=self.precision,
            device=self.device,
            documents=self.documents,
            checkpointing=engine.activation_checkpointing,
            accumulates=sequences < self.rows,
        )
        held = sharding.held(engine, run, self.processes)
        moments = [self._with_staged(memory, held) for memory in at_each_moment(run, held)]
        return max(moments, key=lambda memory: memory.total)

    def _with_staged(self, memory: Memory, held: Held) -> Memory:
        """Add the copies a checkpoint is written from at most: all weights, on the first process, and its
        share of the moments.

        On a CPU they lie where training goes on, if it does; else gradients and activations are gone by then.
        An engine that is read where it is has none until an update overtakes the writing.
        """
        whole = FP32 * parameters(self.model)
        copies = whole + 2 * -(-whole // self.processes)
        if memory.moment == "making":
            return memory
        if self.device == "cuda":
            return replace(memory, host_bytes=memory.host_bytes + copies)
        if self.staged:
            return replace(memory, items={**memory.items, "checkpoint": copies})
        kept = {name: getattr(held, name) for name in ("process", "weights", "optimizer", "buffers")}
        waiting = replace(memory, moment="checkpoint", items={**kept, "checkpoint": copies})
        return max(memory, waiting, key=lambda found: found.total)

    def largest(self, engine: Any, limit_bytes: float) -> int:
        """Return the largest micro-batch that a limit holds, at most a process's share of a step; or 0."""
        return largest_that(lambda size: self.memory(engine, size).total <= limit_bytes, self.rows)


def largest_that(fits: Callable[[int], bool], most: int) -> int:
    """Return the largest of 1 to `most` that fits, 0 if none does; what fits is smaller than what does not.

    But for the last: with the whole share in one pass there are no gradients of passes before.
    """
    if fits(most):
        return most
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def speed(model: GPTConfig, sequence_tokens: int, flops: int, precision: str, on: Hardware) -> Speed | None:
    """Return how long `flops` take on the hardware; None where no GPU is named."""
    if on.gpu is None:
        return None
    count, peak = on.count or 1, getattr(GPUS[on.gpu], precision)
    mfu = on.mfu or expected_mfu(parameters(model))
    per_second = count * peak * mfu
    hours = flops / per_second / 3600
    return Speed(
        peak=f"{on.gpu} {precision} dense, {peak / 1e12:g} TFLOP/s by its data sheet",
        mfu=mfu,
        mfu_from="given" if on.mfu else "assumed: llm.c's on H100s at this size",
        tokens_per_second=per_second / flops_per_token(model, sequence_tokens, FLOPS_FORMULA),
        hours=hours,
        price=None if on.price_per_gpu_hour is None else hours * count * on.price_per_gpu_hour,
    )


def refuse_more_than_one(engine: Any, count: int) -> None:
    """Raise ConfigError if a plan is for several processes of an engine that is one, as `train` does."""
    if kind_name(engine) == "single" and count > 1:
        raise ConfigError(
            f"engine.kind: single is one process, hardware.count is {count};"
            " use kind: ddp, fsdp2 or deepspeed, or hardware.count=1"
        )


def expected_mfu(count: int) -> float:
    """Return the share of its peak that a GPU is assumed to reach with a model of so many parameters."""
    (small, low), (large, high) = MFU_SMALL, MFU_LARGE
    place = (math.log(count) - math.log(small)) / (math.log(large) - math.log(small))
    return low + min(max(place, 0.0), 1.0) * (high - low)


def engines_beside(engine: Any) -> list[tuple[str, Any]]:
    """Return the engines a plan compares, by name, with this one's way of computing its blocks."""
    from pipeline.trainer.engines import ddp, deepspeed, fsdp2

    same = {"activation_checkpointing": engine.activation_checkpointing}
    return [
        ("ddp", ddp.Config(**same)),
        ("fsdp2, reshard off", fsdp2.Config(reshard=False, **same)),
        ("fsdp2", fsdp2.Config(**same)),
        ("fsdp2, offload", fsdp2.Config(offload=True, **same)),
        *((f"deepspeed ZeRO {stage}", deepspeed.Config(zero_stage=stage, **same)) for stage in range(4)),
        ("deepspeed ZeRO 2, offload", deepspeed.Config(zero_stage=2, offload=True, **same)),
    ]


def name_of(engine: Any) -> str:
    """Return an engine's name with what decides its memory."""
    details = [
        *([f"ZeRO {engine.zero_stage}"] if hasattr(engine, "zero_stage") else []),
        *(["reshard off"] if not getattr(engine, "reshard", True) else []),
        *([f"{engine.replicas} replicas"] if getattr(engine, "replicas", 1) > 1 else []),
        *(["offload"] if getattr(engine, "offload", False) else []),
        *(["activation checkpointing"] if engine.activation_checkpointing else []),
    ]
    return " ".join([kind_name(engine), ", ".join(details)]).strip()


def flops_by_formula(model: GPTConfig, sequence_tokens: int) -> dict[FlopsFormula, int]:
    """Return the FLOPs of training on a token by every formula."""
    return {formula: flops_per_token(model, sequence_tokens, formula) for formula in FLOPS_FORMULAS}
