"""A process that makes no progress is found, and the job ends with its name; one that is slow is told.

A thread looks at this process's own main thread: how long ago it got on, and a few times a second whether it
works or waits for the others. Nothing is said between processes while all goes well; what happens when one
does not get on is in `hang`, which of them is slow in `pace`.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from launch.environment import world_size
from pipeline.config import Schema, execution
from pipeline.trainer.hang import STDERR, Hang
from pipeline.trainer.place import is_waiting

POLL_SECONDS = 0.5
SAMPLE_SECONDS = 0.1
# Starting and compiling take long, and others wait while one process writes and publishes a checkpoint.
LONG_PARTS = ("start-up", "meeting of the processes", "checkpoint at step")
LONG_FACTOR, LONG_SECONDS = 3, 300.0
# A process that has not even run its own thread for so long was stopped and goes on: its clock starts anew.
FROZEN_SECONDS = 3.0
# After which a process ends that could not say a word: one whose interpreter is held by a call below Python.
LAST_RESORT_SECONDS = 4.0
# The process group's own limit comes after ours: its message names no place, and often the wrong process.
GROUP_SECONDS = 60.0


class Watchdog(Schema):
    """A process hangs that for `seconds` ends no step, pass, validation batch or part of its start.

    Starting, whatever is done for the first time (it may be compiled) and checkpoints may take three times
    that, and five minutes at least. A process is slow whose own work in the steps is
    `slow_factor` times that of the others.
    """

    seconds: float | None = execution(600.0, gt=0, description="without progress, until the job ends")
    slow_factor: float = execution(4.0, gt=1, description="times the others' work that make a process slow")


class Watcher:
    """A context in which this process is watched; `folder` is one that all processes of the job see."""

    def __init__(self, settings: Watchdog, folder: Path):
        self._seconds = settings.seconds
        self._hang = Hang(folder)
        self._several = world_size() > 1
        self._doing, self._limit, self._is_step = "", float("inf"), False
        self._beats, self._at = 0, time.monotonic()
        self._known: set[str] = set()
        self._main = threading.get_ident()
        self._worked_seconds = 0.0
        self._sampled_at, self._cpu_seconds = self._at, 0.0
        self._armed_for, self._falls_due = -1, float("inf")
        self._arming = threading.Lock()
        self._pausing: Any = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Watcher:
        self.at("start-up")
        if threading.current_thread() is threading.main_thread():
            self._pausing = signal.signal(signal.SIGTSTP, self._pause)
        if not faulthandler.is_enabled():
            faulthandler.enable(STDERR)  # what a crash below Python, or another rank's SIGABRT, leaves
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._thread.join()
        faulthandler.cancel_dump_traceback_later()
        if self._pausing is not None:
            signal.signal(signal.SIGTSTP, self._pausing)

    @property
    def group_seconds(self) -> float | None:
        """How long a process of the group may wait for the others; None for torch's own limit."""
        return None if self._seconds is None else _long(self._seconds) + GROUP_SECONDS

    def at(self, part: str, step: int | None = None) -> None:
        """Note which part of the work begins, the same on every process."""
        self.beat()  # before the limit: the time since the last beat is the last part's
        takes_long = part in LONG_PARTS or part not in self._known
        self._known.add(part)
        self._doing = part if step is None else f"{part} {step:,}"
        seconds = self._seconds or float("inf")
        self._limit = _long(seconds) if takes_long else seconds
        if self._at + self._limit + LAST_RESORT_SECONDS < self._falls_due:
            self._arm()  # the thread that polls may never run again to set the last resort for sooner
        self._is_step = part == "step"

    def beat(self, *_: object) -> None:
        """Note that the work gets on; also as a hook of the model's forward pass."""
        self._beats += 1
        self._at = time.monotonic()

    def meets(self, gathered: Callable[[object], list[object]]) -> None:
        """Learn who the other processes are; collective."""
        self._hang.know(gathered(self._hang.own))

    def node_of(self, rank: int) -> str:
        """Return the name of the node that a rank runs on."""
        return self._hang.node_of(rank)

    def on_end(self, last_words: Callable[[str], None]) -> None:
        """Have something done with the message before this process is ended."""
        self._hang.last_words = last_words

    def worked_microseconds(self) -> int:
        """Return for how long, so far, this process has worked on steps and not waited for the others."""
        return int(self._worked_seconds * 1e6)

    def _watch(self) -> None:
        period = SAMPLE_SECONDS if self._several else POLL_SECONDS
        polled = ran = time.monotonic()
        while not self._closed.wait(period):
            now = time.monotonic()
            if now - ran > FROZEN_SECONDS:
                self._at, self._armed_for = now, -1
            ran = now
            if self._several:
                self._sample(now)
            if now - polled >= POLL_SECONDS or not self._several:
                polled = now
                self._poll(now)

    def _poll(self, now: float) -> None:
        silent_seconds = now - self._at
        if silent_seconds > self._limit or self._hang.is_suspected():
            faulthandler.dump_traceback_later(LAST_RESORT_SECONDS, exit=True, file=STDERR)
            self._hang.end(self._doing, self._beats, silent_seconds, self._frame())
        elif self._armed_for != self._beats:
            self._arm()

    def _arm(self) -> None:
        """Set the last resort, a thread below Python for the time when none of ours can run."""
        with self._arming:  # so that the later one of two threads goes by the limit of now
            due = self._at + self._limit + LAST_RESORT_SECONDS
            if (left := due - time.monotonic()) < threading.TIMEOUT_MAX:
                faulthandler.dump_traceback_later(left, exit=True, file=STDERR)
                self._armed_for, self._falls_due = self._beats, due

    def _pause(self, *_: object) -> None:
        """Stop as Ctrl-Z and clusters ask for it, without a last resort that would fall due meanwhile."""
        faulthandler.cancel_dump_traceback_later()
        os.kill(os.getpid(), signal.SIGSTOP)

    def _sample(self, now: float) -> None:
        """Count the time since the last look as work, unless the main thread waits for other processes."""
        elapsed, self._sampled_at = now - self._sampled_at, now
        clock = _cpu_seconds(self._main)
        used, self._cpu_seconds = clock - self._cpu_seconds, clock
        if self._is_step and not is_waiting(self._frame(), is_idle=used < elapsed / 4):
            self._worked_seconds += elapsed

    def _frame(self) -> FrameType | None:
        return sys._current_frames().get(self._main)


def _cpu_seconds(thread: int) -> float:
    """Return the processor time that a thread has used; 0 where the system does not tell (macOS)."""
    clock = getattr(time, "pthread_getcpuclockid", None)
    return time.clock_gettime(clock(thread)) if clock else 0.0


def _long(seconds: float) -> float:
    return max(seconds * LONG_FACTOR, LONG_SECONDS)
