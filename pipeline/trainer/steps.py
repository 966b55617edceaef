"""The loop that every training shares, as a generator: one `Step` for each optimizer update.

for step in steps(engine, batches, rate, start=…, until=…, tokens_per_step=…):
    log, validate, checkpoint, stop: each stage's own lines, in its own order
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
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
    limit: Callable[[], float] = lambda: math.inf,
    ahead: bool = False,
) -> Iterator[Step]:
    """Take the steps after `start` up to `until`.

    `batches` gives this rank's micro-batches of a step counted from 0, `rate` the learning rate at a number
    of tokens, `limit` the gradient norm above which the next step is skipped. `ahead` prepares the next
    step's micro-batches in a thread while the device works.
    """
    with closing((_ahead if ahead else _in_turn)(batches, start, until)) as prepared:
        for index in range(start, until):
            begun = time.perf_counter()
            micro_batches = next(prepared)
            ready = time.perf_counter()
            lr = rate((index + 0.5) * tokens_per_step)
            stats = engine.train_step(micro_batches, lr, limit())
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


def _in_turn(
    batches: Callable[[int], Sequence[Batch]], start: int, until: int
) -> Generator[Sequence[Batch], None, None]:
    for index in range(start, until):
        yield batches(index)


def _ahead(
    batches: Callable[[int], Sequence[Batch]], start: int, until: int
) -> Generator[Sequence[Batch], None, None]:
    with ThreadPoolExecutor(1, "batches") as thread:
        following = thread.submit(batches, start)
        for index in range(start, until):
            found = following.result()
            if index + 1 < until:
                following = thread.submit(batches, index + 1)
            yield found
