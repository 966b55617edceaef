"""Which process is slow, from the time that each one worked on steps while it did not wait for the others."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from launch.environment import rank, world_size
from pipeline.trainer.collective import largest
from pipeline.trainer.steps import Step
from pipeline.trainer.tracker import Row
from pipeline.trainer.watchdog import SAMPLE_SECONDS, Watchdog, Watcher

# Work is seen a few times a second: below this many looks at the busiest process, shares are chance.
LOOKS = 50

_log = logging.getLogger("loglinear.train")


@dataclass(frozen=True)
class Slow:
    """A process whose own work takes `factor` times that of the others; `seconds` are its own of a step."""

    rank: int
    factor: float
    seconds: float


class Pace:
    """What all processes have worked since it was last judged; a slow one is told once until it is not."""

    def __init__(self, settings: Watchdog, watcher: Watcher):
        self._factor, self._watcher = settings.slow_factor, watcher
        self._worked: list[int] = []
        self._step = 0
        self._told: set[int] = set()

    def rows(self, step: Step, every_steps: int) -> list[Row]:
        """Return an event for each process newly found slow, where it is time to look; collective."""
        if world_size() == 1 or not step.is_every(every_steps):
            return []
        worked = [0] * world_size()
        worked[rank()] = self._watcher.worked_microseconds()
        return [self._told_of(slow, step.number) for slow in self.see(step.number, largest(worked))]

    def _told_of(self, slow: Slow, step: int) -> Row:
        node = self._watcher.node_of(slow.rank)
        if rank() == 0:
            _log.warning(
                "rank %d on %s is slow: works %.3f s in a step, %.1f times as long as the others",
                *(slow.rank, node, slow.seconds, slow.factor),
            )
        return {"step": step, "event": "slow rank", "rank": slow.rank, "node": node,
                "factor": slow.factor, "work_seconds": slow.seconds}  # fmt: skip

    def see(self, step: int, worked_microseconds: Sequence[int]) -> list[Slow]:
        """Take what each process has worked up to a step; return those that are newly found slow."""
        if not self._worked:
            self._worked, self._step = list(worked_microseconds), step
            return []
        seconds = [(now - then) / 1e6 for now, then in zip(worked_microseconds, self._worked, strict=True)]
        if max(seconds) < LOOKS * SAMPLE_SECONDS:
            return []
        found = self._slow(seconds, step - self._step)
        self._worked, self._step = list(worked_microseconds), step
        new = [slow for slow in found if slow.rank not in self._told]
        self._told = {slow.rank for slow in found}
        return new

    def _slow(self, seconds: Sequence[float], steps: int) -> list[Slow]:
        found = []
        for number, own in enumerate(seconds):
            others = median([*seconds[:number], *seconds[number + 1 :]])
            factor = own / max(others, SAMPLE_SECONDS)
            if factor >= self._factor:
                found.append(Slow(number, round(factor, 1), round(own / max(steps, 1), 3)))
        return found
