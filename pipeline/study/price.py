"""Hours and price of runs on named hardware: by a GPU's peak, or by speeds that were measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pydantic

from pipeline.config import Schema, did_you_mean, execution
from pipeline.trainer.gpus import GPUS

MORE_THREADS = 0.7
"""What each further thread of a process adds to the first's speed, at about a million parameters."""


class Hardware(Schema):
    """What a process has, and how fast it trains: a GPU at a share of its peak, or speeds as measured."""

    name: str = execution(description="how the machine is called in plans")
    gpu: str | None = execution(None, description="name of a GPU, one for each process: " + ", ".join(GPUS))
    mfu: float | None = execution(None, gt=0, le=1, description="share of the GPU's peak that is reached")
    speeds: tuple[tuple[float, float], ...] = execution(
        (), description="measured: FLOPs of training on a token, and tokens a second of one thread"
    )
    overhead_seconds: float = execution(0.0, ge=0, description="of each run: starting and evaluating it")

    @pydantic.model_validator(mode="after")
    def _one_way(self) -> Hardware:
        if self.gpu is not None and self.gpu not in GPUS:
            known = ", ".join(GPUS)
            raise ValueError(
                f"gpu: {self.gpu}: no such GPU{did_you_mean(self.gpu, list(GPUS))}; there are {known}"
            )
        if (self.gpu is None) != (self.mfu is None) or (self.gpu is None) == (not self.speeds):
            raise ValueError("speeds: give either gpu and mfu, or speeds that were measured")
        if any(flops <= 0 or speed <= 0 for flops, speed in self.speeds):
            raise ValueError("speeds: pairs of positive numbers, FLOPs of a token and tokens a second")
        return self

    def flops_per_second(self, flops_per_token: float, precision: str, threads: int) -> float:
        """Return what a process reaches with a network of so many FLOPs a token.

        Between two measured sizes it follows a line in logarithms; beyond them it is the nearest one's.
        """
        if self.gpu is not None:
            assert self.mfu is not None
            return float(getattr(GPUS[self.gpu], precision)) * self.mfu
        return interpolated(self.speeds, flops_per_token) * (1 + MORE_THREADS * (threads - 1))

    def seconds(self, flops: float, flops_per_token: float, precision: str, threads: int) -> float:
        """Return how long a run takes, from its start to its evaluation."""
        return self.overhead_seconds + flops / self.flops_per_second(flops_per_token, precision, threads)


def interpolated(speeds: Sequence[tuple[float, float]], flops_per_token: float) -> float:
    """Return FLOP/s at a size by measured pairs of FLOPs a token and tokens a second."""
    known = sorted((math.log(flops), math.log(flops * speed)) for flops, speed in speeds)
    at = min(max(math.log(flops_per_token), known[0][0]), known[-1][0])
    for (low, slow), (high, fast) in zip(known, known[1:], strict=False):
        if at <= high:
            return (
                math.exp(slow + (fast - slow) * (at - low) / (high - low)) if high > low else math.exp(fast)
            )
    return math.exp(known[-1][1])
