"""What a job is, and what a launcher does with it."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

JOB = "LOGLINEAR_JOB"  # holds the folder in which a job's processes leave word, see `launch.rank`


@dataclass(frozen=True, kw_only=True)
class Job:
    """One `loglinear` command to run somewhere.

    `argv` are the words after `loglinear`; `environment` is laid over the launcher's own. `node` is the name
    of this node where the same command is run on each of several, and empty where one command starts all.
    With `alone` it is one process whatever the launcher starts of others. `after` are the ids of jobs in the
    launcher's queue that must have ended well before this one starts.
    """

    name: str
    argv: tuple[str, ...]
    directory: Path
    processes: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    node: str = ""
    alone: bool = False
    after: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.processes < 1:
            raise ValueError(f"processes ({self.processes}) must be at least 1")

    @property
    def folder(self) -> Path:
        """Where the job's processes leave their logs and how they ended; the same on all nodes."""
        return self.directory / "logs" / self.name

    @property
    def log(self) -> Path:
        """Where the output of the launcher goes, and with `local` that of the job; no two nodes share it."""
        return self.directory / "logs" / f"{self.name}{f'.{self.node}' if self.node else ''}.log"

    @property
    def command(self) -> tuple[str, ...]:
        """The command of one process, with this interpreter."""
        return (sys.executable, "-m", "pipeline", *self.argv)

    @property
    def variables(self) -> dict[str, str]:
        """What every launcher sets, and over it the job's own environment.

        torch's lock on a folder of compiled extensions is a file that a killed build leaves behind, and
        waiting for it has no end: each job has its own folder, and `launch.rank` removes what is left there.
        """
        folder = Path(os.path.abspath(self.folder))  # noqa: PTH100 - `resolve` would read the disk
        own = {JOB: str(folder), "TORCH_EXTENSIONS_DIR": str(folder / "extensions")}
        return {**own, **self.environment}


class Submission(Protocol):
    """A job that was started, or stands in a cluster's queue and outlives the command that submitted it."""

    id: str

    def poll(self) -> int | None:
        """Return the exit code, or None while the job runs."""

    def wait(self) -> int:
        """Return the exit code once the job has ended."""

    def stop(self) -> None:
        """Ask the job to checkpoint and end, and end it if it does not."""


@runtime_checkable
class Followed(Submission, Protocol):
    """A job that is a child of this process, and whose output can be read while it runs."""

    output: Path

    def ask(self) -> None:
        """Ask the job to checkpoint and end, and return at once."""


class Launcher(Protocol):
    """Somewhere to run a job."""

    processes: int
    """How many processes a job becomes, on all nodes together, unless it says more than one."""
    on_each_node: bool
    """Whether the same command is run on each node by hand (or by a cluster), each starting its own part."""
    is_detached: bool
    """Whether a job is only submitted, and outlives the command; else it is `Followed`."""

    def script(self, job: Job) -> str:
        """Return what would run, as a shell script; pure."""

    def submit(self, job: Job) -> Submission:
        """Start the job, or put it into the queue, see `launch.submitted`."""


@runtime_checkable
class Queue(Launcher, Protocol):
    """A cluster's queue that takes many jobs as one array, and jobs that wait for others (`Job.after`)."""

    def script_of(self, jobs: Sequence[Job]) -> str:
        """Return the array that would be submitted; pure."""

    def submit_all(self, jobs: Sequence[Job]) -> list[Submission]:
        """Submit an array; a job that is in the queue already is taken as it is."""
