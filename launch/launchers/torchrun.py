"""On this node, one process per device, started by torchrun."""

import shlex
import sys
from dataclasses import dataclass

from launch.launcher import Job, Submission
from launch.process import Process, thread_variables

# Torchrun kills its workers 30 s after SIGTERM unless told otherwise; a checkpoint can take longer.
SHUTDOWN_SECONDS = 300


@dataclass(frozen=True, kw_only=True)
class Config:
    """`processes`: on this node, unless the job says more than one; `threads`: compute threads of each."""

    processes: int = 1
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.processes < 1:
            raise ValueError(f"processes ({self.processes}) must be at least 1")

    def build(self) -> "Torchrun":
        """Return the launcher."""
        return Torchrun(self.processes, self.threads)


class Torchrun:
    """Run a job as several processes on this node."""

    def __init__(self, processes: int, threads: int | None):
        self._processes, self._threads = processes, threads

    def script(self, job: Job) -> str:
        """Return the torchrun command with its environment."""
        words = [f"{name}={shlex.quote(value)}" for name, value in self._environment(job).items()]
        return f"{' '.join([*words, shlex.join(self._command(job))])} >> {shlex.quote(str(job.log))} 2>&1\n"

    def submit(self, job: Job) -> Submission:
        """Start torchrun as a child."""
        return Process(self._command(job), job.log, self._environment(job))

    def _command(self, job: Job) -> list[str]:
        processes = job.processes if job.processes > 1 else self._processes
        options = [f"--nproc-per-node={processes}", "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"]
        options += [
            f"--shutdown-timeout={SHUTDOWN_SECONDS}",
            "--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1",
        ]
        return [sys.executable, "-m", "torch.distributed.run", *options, "-m", "pipeline", *job.argv]

    def _environment(self, job: Job) -> dict[str, str]:
        return {**thread_variables(self._threads or 1), **job.environment}
