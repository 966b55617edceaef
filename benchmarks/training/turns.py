"""Timing in turns: a busy machine is as busy for all; a ratio is the median of those of single rounds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Literal

import torch

Clock = Literal["wall", "process"]
CLOCKS: Mapping[Clock, Callable[[], float]] = {"wall": time.perf_counter, "process": time.process_time}
PRODUCT = "matrix product"
PRODUCT_SIZES = (768, 1024, 2048)


def take_turns(
    work: Mapping[str, Callable[[], object]], rounds: int, clock: Clock, least_seconds: float
) -> dict[str, list[float]]:
    """Return the seconds of one run of each work, by round; a short one is repeated for `least_seconds`."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, run in work.items():
            seconds[name].append(timed(run, clock, least_seconds))
    return seconds


def timed(run: Callable[[], object], clock: Clock, least_seconds: float) -> float:
    """Return the seconds of one run, from as many as take long enough to measure."""
    now = CLOCKS[clock]
    start, runs = now(), 0
    while runs == 0 or now() - start < least_seconds:
        run()
        runs += 1
    return (now() - start) / runs


def ratio(of: list[float], over: list[float]) -> float:
    """Return the median over rounds of one time divided by another."""
    return statistics.median(a / b for a, b in zip(of, over, strict=True))


class Product:
    """The machine's fp32 matrix product: the fastest of a few square ones."""

    def __init__(self) -> None:
        best = min(PRODUCT_SIZES, key=lambda size: _seconds_per_flop(size))
        self.size, self.flops = best, 2.0 * best**3
        self._factors = torch.ones(best, best), torch.ones(best, best)
        self._result = torch.empty(best, best)

    def __call__(self) -> None:
        """Multiply once."""
        torch.mm(*self._factors, out=self._result)


def _seconds_per_flop(size: int, runs: int = 5) -> float:
    factor, result = torch.ones(size, size), torch.empty(size, size)
    work = lambda: torch.mm(factor, factor, out=result)  # noqa: E731 - timed by name below
    return min(timed(work, "wall", 0.0) for _ in range(runs)) / (2.0 * size**3)
