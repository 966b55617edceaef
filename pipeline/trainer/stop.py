"""Being asked to stop, by a signal or by the run's stop file: polled at step boundaries, agreed by all ranks.

What becomes of the signals until then is in `launch.stopping`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from launch.stopping import SIGNALS, Held

FILE_POLL_SECONDS = 1.0
STOP_FILE = "stop file"
# What a stop can be due to; the later ones are told where processes have different ones.
REASONS = ("", STOP_FILE, *(number.name for number in SIGNALS))


class Stop:
    """A context in which signals ask for a stop, as those do that are held since the process began.

    `file_requested` tells whether the stop file has asked since a time in seconds since 1970.
    """

    def __init__(self, file_requested: Callable[[float], bool]):
        self._file_requested = file_requested
        self._next_poll = 0.0
        self._asked_by_file = False
        self._own = Held()
        self._held = self._own

    def __enter__(self) -> Stop:
        self._held = self._own.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._own.__exit__(kind, value, trace)

    def requested(self) -> str:
        """Return why this process was asked to stop, or nothing."""
        if self._held.asked:
            return self._held.asked
        now = time.monotonic()
        if not self._asked_by_file and now >= self._next_poll:
            self._next_poll = now + FILE_POLL_SECONDS
            self._asked_by_file = self._file_requested(self._held.since)
        return STOP_FILE if self._asked_by_file else ""

    def agreed(self) -> str:
        """Return why any process of the job was asked to stop, the same on all; collective."""
        from pipeline.trainer.collective import largest

        (number,) = largest([REASONS.index(self.requested())])
        return REASONS[number]
