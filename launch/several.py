"""A job of several processes, through a child of this one that starts them."""

import contextlib
import math
import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any

from launch.environment import node_name
from launch.launcher import Job
from launch.process import POLL_SECONDS, Process
from launch.rank import STOP, is_at_work, records

LINGER_SECONDS = 30.0
LOOK_SECONDS = 5.0


class Several(Process):
    """A started launcher such as torchrun; its ranks write logs of their own, and rank 0's is followed.

    `linger`: seconds for the launcher to end, or to start its ranks here again, once all of them have ended;
    `begin`: seconds for the first of them to begin.
    """

    def __init__(
        self,
        command: Sequence[str],
        job: Job,
        environment: Mapping[str, str],
        grace: float,
        linger: float = LINGER_SECONDS,
        begin: float = math.inf,
    ):
        super().__init__(command, job.log, environment, grace)
        self.output = job.folder / "rank-0.log"
        self._folder, self._log = job.folder, job.log
        self._stop = job.folder / STOP
        self._kill_at: float | None = None
        self._linger, self._begin_by = linger, time.monotonic() + begin
        self._look_at = self._idle_since = 0.0

    def ask(self) -> None:
        """Ask the ranks to checkpoint and end.

        Each reads it for itself, on whatever node. DeepSpeed's launcher passes a signal on to one rank after
        the other and kills, and what started it dies of the signal and leaves it behind. Where no rank has
        begun, as nodes wait for each other, nobody would read it.
        """
        self._stop.touch()
        if not records(self._folder):
            super().ask()

    def poll(self) -> int | None:
        """Return the exit code, or None while the child, or a rank that it has left behind here, runs.

        The ranks of a killed launcher save their work; those that have not within the grace are killed.
        """
        code = super().poll()
        if code is None:
            self._end_lingering()
        left = self._at_work() if code is not None else []
        if not left:
            return code
        self._kill_at = self._kill_at or time.monotonic() + self._grace
        if time.monotonic() > self._kill_at:
            for rank in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rank["pid"], signal.SIGKILL)
        return None

    def wait(self) -> int:
        """Return the exit code once the child and its ranks here have ended."""
        while (code := self.poll()) is None:
            time.sleep(POLL_SECONDS)
        return code

    def stop(self) -> None:
        """Ask the ranks to checkpoint and end; kill the child, and its session, if they have not in time."""
        super().stop()
        self.wait()

    def _end_lingering(self) -> None:
        """Kill a launcher that has outlived its ranks: torchrun waits without end where a cable was cut."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        if not self._here():
            if now > self._begin_by:
                self._kill("no rank has begun in time")
            return
        if self._at_work():
            self._idle_since = 0.0
            return
        self._idle_since = self._idle_since or now
        if now - self._idle_since > self._linger:
            self._kill("all ranks here have ended, and the launcher has not")

    def _kill(self, why: str) -> None:
        """Kill the launcher, and say so where it says everything else."""
        with self._log.open("a") as log:
            log.write(f"killed: {why}\n")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(self.id), signal.SIGKILL)

    def _at_work(self) -> list[dict[str, Any]]:
        """Return what the ranks that run on this node have noted."""
        return [record for record in self._here() if is_at_work(record)]

    def _here(self) -> list[dict[str, Any]]:
        """Return what the ranks of this node have noted, also those that have ended."""
        return [record for record in records(self._folder) if record["node"] == node_name()]
