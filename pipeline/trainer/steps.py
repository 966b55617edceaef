"""The loop that every training shares, as a generator: one `Step` for each optimizer update.

for step in steps(engine, batches, rate, start=…, until=…, tokens_per_step=…):
    log, validate, checkpoint, stop: each stage's own lines, in its own order
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.trainer.engine import Batch, Engine, StepStats


@dataclass(frozen=True)
class Step:
    """What one step did. `number` counts from 1; `tokens` are those seen by its end."""

    number: int
    tokens: int
    lr: float
    stats: StepStats
    seconds: float
    data_seconds: float
    is_last: bool

    def is_every(self, steps: int) -> bool:
        """Tell whether this is one of every so many steps, or the last; 0 means the last alone."""
        return self.is_last or (steps > 0 and self.number % steps == 0)


def steps(
    engine: Engine,
    batches: Callable[[int], Sequence[Batch]],
    rate: Callable[[float], float],
    *,
    start: int,
    until: int,
    tokens_per_step: int,
) -> Iterator[Step]:
    """Take the steps after `start` up to `until`.

    `batches` gives this rank's micro-batches of a step counted from 0, `rate` the learning rate at a number
    of tokens.
    """
    for index in range(start, until):
        begun = time.perf_counter()
        micro_batches = batches(index)
        ready = time.perf_counter()
        lr = rate((index + 0.5) * tokens_per_step)
        stats = engine.train_step(micro_batches, lr)
        ended = time.perf_counter()
        yield Step(
            number=index + 1,
            tokens=(index + 1) * tokens_per_step,
            lr=lr,
            stats=stats,
            seconds=ended - begun,
            data_seconds=ready - begun,
            is_last=index + 1 == until,
        )
