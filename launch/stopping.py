"""Signals that ask a process to stop, held from its first moment until its work can honour them.

The first one is noted and not obeyed. Another one ends the process at once, whatever it is doing; one that
comes close behind the first is its echo: a cluster signals every process of a job, and a launcher among them
passes its own on. A thread waits for the signals, which all others block, and so do the compilers that the
process starts: a launcher signals its ranks with all that they have started.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
ECHO_SECONDS = 0.5
EXIT_BY_SIGNAL = 128  # and the signal's number, as a shell tells it


class Held:
    """A context in which signals are held; inside another one it is the same. `since`: seconds since 1970."""

    _outermost: "Held | None" = None

    def __init__(self) -> None:
        self.since = time.time()
        self._asked = ""
        self._asked_at = 0.0
        self._ended = False
        self._handlers: dict[signal.Signals, Any] = {}
        self._mask: set[signal.Signals | int] = set()
        self._receiver = threading.Thread(target=self._receive, name="signals", daemon=True)

    def __enter__(self) -> "Held":
        if Held._outermost is not None:
            return Held._outermost
        if threading.current_thread() is threading.main_thread():
            Held._outermost = self
            # For a signal that the kernel gives to a thread that was there before and blocks nothing.
            self._handlers = {number: signal.signal(number, self._handle) for number in SIGNALS}
            self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            self._receiver.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._handlers:
            return
        Held._outermost, self._ended = None, True
        assert self._receiver.ident is not None
        signal.pthread_kill(self._receiver.ident, signal.SIGUSR1)  # wakes it
        self._receiver.join()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    @property
    def asked(self) -> str:
        """The name of the signal that asked this process to stop, or nothing."""
        return self._asked

    def _receive(self) -> None:
        while True:
            number = signal.sigwait(SIGNALS)
            if self._ended:
                return
            self._note(number)

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the shape of a handler
        self._note(number)

    def _note(self, number: int) -> None:
        now = time.monotonic()
        if not self._asked:
            self._asked, self._asked_at = signal.Signals(number).name, now
        elif now - self._asked_at > ECHO_SECONDS:
            os._exit(EXIT_BY_SIGNAL + number)


def asked() -> str:
    """Return the name of the signal that is held in this process, or nothing."""
    return Held._outermost.asked if Held._outermost else ""


@contextmanager
def unheld() -> Iterator[None]:
    """Let signals through to the processes that are started in here: those are to be asked by them."""
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
