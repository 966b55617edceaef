"""Spikes and numbers that are not finite: which steps are skipped, and when a run goes back.

The rule belongs to the loop, so it is the same for every engine. An engine skips a step whose loss or norm
is not finite, or whose norm is above the limit that it is given; the limit comes from the norms of the last
steps that were applied (the idea of SkipStepAdamW in OLMo-core). Too many skipped steps in a row mean that
the weights, and not a window, are bad: the run goes back to its last good checkpoint and leaves the windows
of those steps out.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.config import Schema, identity

if TYPE_CHECKING:
    from pipeline.trainer.engine import StepStats


class Spikes(Schema):
    """What counts as a bad step, and how many in a row are too many.

    Loss and gradient norm must be finite, always; with `sigma` a norm may also be no more than so many
    standard deviations above the mean of the last `window` applied ones.
    """

    sigma: float | None = identity(None, gt=0, description="standard deviations that are a spike; null: none")
    window: int = identity(128, ge=2, description="applied steps whose norms are remembered")
    rollback_after: int = identity(10, ge=1, description="skipped steps in a row before going back")
    max_rollbacks: int = identity(3, ge=0, description="times a run goes back before it gives up")


class Watch:
    """What the rule remembers; `memory` is kept in a checkpoint and given back to the next one."""

    def __init__(self, settings: Spikes, memory: Mapping[str, Any] | None = None):
        memory = memory or {}
        self._settings = settings
        self._norms = deque(memory.get("norms", ()), maxlen=settings.window)
        self.skipped_in_a_row: int = memory.get("skipped_in_a_row", 0)
        self.rollbacks: int = memory.get("rollbacks", 0)

    def limit(self) -> float:
        """Return the norm above which the next step is a spike; infinite until half the window is filled."""
        if self._settings.sigma is None or len(self._norms) < max(self._settings.window // 2, 2):
            return math.inf
        count = len(self._norms)
        mean = math.fsum(self._norms) / count
        variance = math.fsum((norm - mean) ** 2 for norm in self._norms) / (count - 1)
        return mean + self._settings.sigma * math.sqrt(variance)

    def see(self, stats: StepStats) -> None:
        """Take a step into account."""
        if not stats.applied:
            self.skipped_in_a_row += 1
            return
        self.skipped_in_a_row = 0
        if self._settings.sigma is not None:
            self._norms.append(stats.grad_norm)

    def gives_up_on_weights(self) -> bool:
        """Tell whether so many steps in a row were skipped that the run should go back."""
        return self.skipped_in_a_row >= self._settings.rollback_after

    def may_go_back(self) -> bool:
        """Tell whether the run has not gone back too often yet."""
        return self.rollbacks < self._settings.max_rollbacks

    def memory(self) -> dict[str, Any]:
        """Return what the next attempt has to know."""
        return {
            "norms": list(self._norms),
            "skipped_in_a_row": self.skipped_in_a_row,
            "rollbacks": self.rollbacks,
        }


def reason(stats: StepStats) -> str:
    """Return why a step was skipped."""
    return "spike" if math.isfinite(stats.grad_norm) else "not finite"
