"""A child process for code that may crash, hang or eat memory on hostile input.

Limits are in CPU seconds and bytes of address space, so a busy machine changes no result: the kernel itself
kills the child (SIGPROF, RLIMIT_AS), which works inside C code too. A lost child costs one item; the next
gets a new one.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import resource
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import IO, Any

_LENGTH = struct.Struct("<Q")
# A child that sleeps uses no CPU. Nothing we run sleeps, so this only ends what would otherwise never end.
WALL_SECONDS_PER_CPU_SECOND = 30
START_SECONDS = 120
_KILLED = "killed"


class LostError(Exception):
    """The sandboxed function gave no result; `reason` is `time`, `memory`, `hang`, `crash` or `error`."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(detail or reason)
        self.reason = reason


class Sandbox:
    """Call a picklable function in a child process, one item at a time. Use it as a context manager.

    Each child begins with the arguments of `warm_up`, so that no item pays for what the function imports.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        cpu_seconds: float,
        memory_bytes: int,
        warm_up: tuple[Any, ...] | None = None,
    ):
        self._function, self._warm_up = function, warm_up
        self._cpu_seconds, self._memory_bytes = cpu_seconds, memory_bytes
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def __call__(self, *arguments: Any) -> Any:
        """Return what the function returns; raise LostError if it fails or goes over a limit.

        SIGKILL is no limit of ours, so an item whose child it hit is tried once more: the kernel kills when
        memory runs out elsewhere, and what it hit must not decide what is in a dataset.
        """
        for _ in range(2):
            try:
                return self._answer(arguments)
            except LostError as lost:
                if lost.reason != _KILLED:
                    raise
        raise LostError("crash", "killed by SIGKILL, twice")

    def _answer(self, arguments: tuple[Any, ...]) -> Any:
        child = self._child or self._start()
        try:
            send(child.stdin, arguments)
            fine, value = self._receive(child, self._cpu_seconds * WALL_SECONDS_PER_CPU_SECOND)
        except (EOFError, BrokenPipeError):
            raise LostError(self._how_it_died(child)) from None
        if not fine:
            raise LostError(*value)
        return value

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "pipeline.data.sandbox"]
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._child = child
        try:
            function = pickle.dumps(self._function)
            send(child.stdin, (self._cpu_seconds, self._memory_bytes, function, self._warm_up))
            fine, value = self._receive(child, START_SECONDS)
        except (EOFError, BrokenPipeError):
            raise LostError(self._how_it_died(child), "the child did not start") from None
        if not fine:
            self._end()
            raise LostError(*value)
        return child

    def _receive(self, child: subprocess.Popen[bytes], wall_seconds: float) -> Any:
        assert child.stdout is not None
        ready, _, _ = select.select([child.stdout], [], [], wall_seconds)
        if not ready:
            self._end()
            raise LostError("hang")
        return receive(child.stdout)

    def _how_it_died(self, child: subprocess.Popen[bytes]) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=10)
        code = child.returncode
        self._end()
        return {-signal.SIGPROF: "time", -signal.SIGKILL: _KILLED}.get(code, "crash")

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def send(pipe: IO[bytes] | None, value: Any) -> None:
    """Write one value to a pipe."""
    assert pipe is not None
    data = pickle.dumps(value)
    pipe.write(_LENGTH.pack(len(data)) + data)
    pipe.flush()


def receive(pipe: IO[bytes]) -> Any:
    """Return the next value from a pipe; EOFError at its end, wherever that falls."""
    (length,) = _LENGTH.unpack(_exactly(pipe, _LENGTH.size))
    return pickle.loads(_exactly(pipe, length))


def serve(requests: IO[bytes], replies: IO[bytes]) -> None:
    """Be the child: take limits and a function, then answer items until the parent is gone."""
    cpu_seconds, memory_bytes, pickled, warm_up = receive(requests)
    try:
        function = pickle.loads(pickled)
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
        if warm_up is not None:
            function(*warm_up)
    except Exception as fault:
        send(replies, (False, ("error", f"{type(fault).__name__}: {fault}")))
        return
    send(replies, (True, None))
    while True:
        try:
            arguments = receive(requests)
        except EOFError:
            return
        # CPU time of this process alone, and the default action of its signal ends it even inside C code.
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
        reply = _reply(function, arguments)
        signal.setitimer(signal.ITIMER_PROF, 0)
        send(replies, reply)


def _reply(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    try:
        return True, function(*arguments)
    except MemoryError:
        return False, ("memory", "")
    except RecursionError:
        return False, ("error", "RecursionError")
    except Exception as fault:
        return False, ("error", f"{type(fault).__name__}: {fault}"[:500])


def _exactly(pipe: IO[bytes], length: int) -> bytes:
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError
    return data


if __name__ == "__main__":
    # Replies get a descriptor of their own: what a library prints must not end up between them.
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        serve(sys.stdin.buffer, answers)
