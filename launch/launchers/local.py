"""Here, as one child process."""

import shlex
from dataclasses import dataclass

from launch.launcher import Followed, Job
from launch.process import Process, thread_variables
from launch.rank import clear


@dataclass(frozen=True, kw_only=True)
class Config:
    """`threads`: compute threads of the process; by default as many as it finds."""

    threads: int | None = None

    def build(self) -> "Local":
        """Return the launcher."""
        return Local(self.threads)


class Local:
    """Run a job in one child process of this one."""

    processes = 1
    on_each_node = False
    is_detached = False

    def __init__(self, threads: int | None):
        self._threads = threads

    def script(self, job: Job) -> str:
        """Return the command with its environment."""
        words = [f"{name}={shlex.quote(value)}" for name, value in self._environment(job).items()]
        return f"{' '.join([*words, shlex.join(job.command)])} >> {shlex.quote(str(job.log))} 2>&1\n"

    def submit(self, job: Job) -> Followed:
        """Start the child."""
        if job.processes != 1:
            raise ValueError(
                f"{job.name}: local runs one process, {job.processes} were asked for; use kind: torchrun"
            )
        clear(job.folder)
        return Process(job.command, job.log, self._environment(job))

    def _environment(self, job: Job) -> dict[str, str]:
        return {**(thread_variables(self._threads) if self._threads else {}), **job.variables}
