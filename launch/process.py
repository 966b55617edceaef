"""A job as a child process of this one, its output in a file; it ends when this one does."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

STOP_SECONDS = 60.0
POLL_SECONDS = 0.25
LAUNCHER = "LOGLINEAR_LAUNCHER"  # holds the id of the process that a job was started by and ends with


class Process:
    """A started child; the contract is `launch.launcher.Followed`.

    It has a session of its own: Ctrl-C reaches this process alone, which then asks the child once.
    """

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str], grace: float = STOP_SECONDS
    ):
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
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
    os.kill(os.getpid(), signal.SIGTERM)


def is_alive(process: int) -> bool:
    """Tell whether a process runs; one that has ended but was not waited for does not."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return True


def thread_variables(threads: int) -> dict[str, str]:
    """Return the environment that holds a process to a number of compute threads."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {name: str(threads) for name in names}
