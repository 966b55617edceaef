"""A job as a child process of this one, its output in a file."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

STOP_SECONDS = 60.0


class Process:
    """A started child; the contract is `launch.launcher.Submission`."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]):
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **environment},
            )
        self.id = str(self._child.pid)

    def poll(self) -> int | None:
        """Return the exit code, or None while the child runs."""
        return self._child.poll()

    def wait(self) -> int:
        """Return the exit code once the child has ended."""
        return self._child.wait()

    def stop(self) -> None:
        """Ask the child to checkpoint and end; kill it if it has not within a minute."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            try:
                self._child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()


def thread_variables(threads: int) -> dict[str, str]:
    """Return the environment that holds a process to a number of compute threads."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {name: str(threads) for name in names}
