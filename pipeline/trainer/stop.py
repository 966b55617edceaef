"""Being asked to stop, by a signal or by the run's stop file: polled at step boundaries, agreed by all ranks.

The first signal asks; a second one ends the process at once, as if the handler were not there.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
FILE_POLL_SECONDS = 1.0
STOP_FILE = "stop file"
# What a stop can be due to; the later ones are told where processes have different ones.
REASONS = ("", STOP_FILE, *(number.name for number in SIGNALS))


class Stop:
    """A context in which signals ask for a stop. `file_requested` tells whether the stop file asks."""

    def __init__(self, file_requested: Callable[[], bool]):
        self._file_requested = file_requested
        self._next_poll = 0.0
        self._before: dict[signal.Signals, Any] = {}
        self.reason = ""

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._ask) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def requested(self) -> str:
        """Return why this process was asked to stop, or nothing."""
        now = time.monotonic()
        if not self.reason and now >= self._next_poll:
            self._next_poll = now + FILE_POLL_SECONDS
            if self._file_requested():
                self.reason = STOP_FILE
        return self.reason

    def agreed(self) -> str:
        """Return why any process of the job was asked to stop, the same on all; collective."""
        from pipeline.trainer.collective import largest

        (number,) = largest([REASONS.index(self.requested())])
        return REASONS[number]

    def _ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the shape of a signal handler
        self.reason = signal.Signals(number).name
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
