"""A job as a child process of this one, its output in a file; it ends when this one does."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from launch import stopping

STOP_SECONDS = 60.0
POLL_SECONDS = 0.25
_THREADS, _BEGINNING = 17, 19  # of the fields after the name in /proc/PID/stat
LAUNCHER = "LOGLINEAR_LAUNCHER"  # holds the id of the process that a job was started by and ends with


class Process:
    """A started child; the contract is `launch.launcher.Followed`.

    It has a session of its own: Ctrl-C reaches this process alone, which then asks the child once.
    """

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str], grace: float = STOP_SECONDS
    ):
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output, stopping.unheld():
            self._child = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **ends_with_this_process(), **environment},
                start_new_session=True,
            )
        self.id = str(self._child.pid)
        self.output = log
        self._grace = grace

    def poll(self) -> int | None:
        """Return the exit code, or None while the child runs."""
        return self._child.poll()

    def wait(self) -> int:
        """Return the exit code once the child has ended."""
        return self._child.wait()

    def ask(self) -> None:
        """Ask the child to checkpoint and end."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Ask the child to checkpoint and end; kill it, and its session, if it has not within its grace."""
        if self._child.poll() is None:
            self.ask()
            try:
                self._child.wait(self._grace)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._child.pid, signal.SIGKILL)
                self._child.wait()


def ends_with_this_process() -> dict[str, str]:
    """Return the environment by which a child, and what it starts in turn, ends when this process does."""
    return {LAUNCHER: str(os.getpid())}


def end_with_launcher() -> None:
    """Send this process SIGTERM once the process that launched it is gone, however it went.

    A killed command thus leaves nobody at work behind it: training saves a checkpoint first.
    """
    launcher = os.environ.get(LAUNCHER)
    if launcher:
        end_with(int(launcher))


def end_with(process: int) -> None:
    """Send this process SIGTERM once another one of this machine is gone."""
    threading.Thread(target=_watch, args=(process,), daemon=True).start()


def _watch(process: int) -> None:
    while is_alive(process):
        time.sleep(POLL_SECONDS)
    if not stopping.asked():  # a second request would end this process at once
        os.kill(os.getpid(), signal.SIGTERM)


def is_alive(process: int, began: int | None = None) -> bool:
    """Tell whether a process runs; one that has ended but was not waited for does not.

    One of several threads has ended with the last of them: a killed one that has yet to come out of the
    kernel still holds the process's files and locks. With `began`, as `beginning` told it, another process
    that was given the same id later is not meant.
    """
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return began is None or began == beginning(process)
    state = _stat(process)
    if not state:
        return True
    has_ended = state[0] in "ZX" and int(state[_THREADS]) <= 1
    return not has_ended and began in (None, int(state[_BEGINNING]))


def beginning(process: int) -> int | None:
    """Return when a process began, in ticks since the machine did; None where nobody can tell."""
    state = _stat(process)
    return int(state[_BEGINNING]) if state else None


def state_of(process: int) -> str:
    """Return the kernel's letter for what a process does, as proc(5) has it; nothing if unknown."""
    return next(iter(_stat(process)), "")


def _stat(process: int) -> list[str]:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def thread_variables(threads: int) -> dict[str, str]:
    """Return the environment that holds a process to a number of compute threads."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {name: str(threads) for name in names}
