"""What a job is, and what a launcher does with it."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Job:
    """One `loglinear` command to run somewhere.

    `argv` are the words after `loglinear`; output goes to `directory/logs/NAME.log`; `environment` is laid
    over the launcher's own.
    """

    name: str
    argv: tuple[str, ...]
    directory: Path
    processes: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.processes < 1:
            raise ValueError(f"processes ({self.processes}) must be at least 1")

    @property
    def log(self) -> Path:
        """Where the job's output goes."""
        return self.directory / "logs" / f"{self.name}.log"

    @property
    def command(self) -> tuple[str, ...]:
        """The command of one process, with this interpreter."""
        return (sys.executable, "-m", "pipeline", *self.argv)


class Submission(Protocol):
    """A job that was started."""

    id: str

    def poll(self) -> int | None:
        """Return the exit code, or None while the job runs."""

    def wait(self) -> int:
        """Return the exit code once the job has ended."""

    def stop(self) -> None:
        """Ask the job to checkpoint and end."""


class Launcher(Protocol):
    """Somewhere to run a job."""

    def script(self, job: Job) -> str:
        """Return what would run, as a shell script; pure."""

    def submit(self, job: Job) -> Submission:
        """Start the job."""
