"""Jobs handed to a cluster, which outlive the command that submitted them: which there are, and what they do.

A job's folder (`launch.launcher.Job.folder`) holds of them:

submitted.json   the kind of launcher, the id that the cluster gave the job, and when
halt             asks the job to save its work and end, and not to be queued again
ended.json       the id and the exit code, once the job has ended and is not queued again
"""

import importlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from launch.launcher import Job

RECORD, HALT, ENDED = "submitted.json", "halt", "ended.json"
POLL_SECONDS = 5.0
SAVE_SECONDS = 600.0  # for a running job to save its work, once asked
LOST_SECONDS = 15.0  # how much later than the cluster a shared file system may tell of an end


@dataclass(frozen=True, kw_only=True)
class State:
    """What a cluster says of a job that it has not done with; `waits` before it has begun."""

    waits: bool
    words: str


class Cluster(Protocol):
    """What the module of a launcher that submits jobs can tell and do."""

    def state(self, job: str) -> State | None:
        """Return what a job does, by its id; None once it is done with. RuntimeError: unknown."""

    def cancel(self, job: str) -> None:
        """End a job, by its id."""


@dataclass(frozen=True, kw_only=True)
class _Record:
    kind: str
    id: str
    name: str
    submitted: float


class Submitted:
    """A job that a cluster was given; the contract is `launch.launcher.Submission`."""

    def __init__(self, folder: Path, record: _Record):
        self.id, self.name, self.kind = record.id, record.name, record.kind
        self.submitted = record.submitted
        self.folder = folder
        self._gone_at = 0.0

    @property
    def log(self) -> Path:
        """Where the output of the job goes; of several ranks that of rank 0."""
        ranks = self.folder / "rank-0.log"
        return ranks if ranks.exists() else self.folder.with_name(f"{self.folder.name}.log")

    def state(self) -> State | None:
        """Return what the cluster says of the job, or None once it has ended for good."""
        return None if self._exit_code() is not None else self._cluster.state(self.id)

    def poll(self) -> int | None:
        """Return the exit code, or None while the job waits or runs, or nobody can tell."""
        code = self._exit_code()
        if code is not None:
            return code
        try:
            if self._cluster.state(self.id) is not None:
                self._gone_at = 0.0
                return None
        except RuntimeError:
            return None  # the next poll asks again
        self._gone_at = self._gone_at or time.monotonic()
        return 1 if time.monotonic() - self._gone_at > LOST_SECONDS else None

    def wait(self) -> int:
        """Return the exit code once the job has ended."""
        while (code := self.poll()) is None:
            time.sleep(POLL_SECONDS)
        return code

    def ask(self) -> None:
        """Ask the job to save its work and end; one that still waits is taken out of the queue."""
        (self.folder / HALT).touch()
        state = self.state()
        if state is not None and state.waits:
            self._cluster.cancel(self.id)

    def stop(self) -> None:
        """Ask the job to save its work and end, and end it if it does not."""
        self.ask()
        until = time.monotonic() + SAVE_SECONDS
        while self.poll() is None:
            if time.monotonic() > until:
                self._cluster.cancel(self.id)
                until = time.monotonic() + SAVE_SECONDS
            time.sleep(POLL_SECONDS)

    @property
    def _cluster(self) -> Cluster:
        return cast(Cluster, importlib.import_module(f"launch.launchers.{self.kind}"))

    def _exit_code(self) -> int | None:
        found = _read(self.folder / ENDED)
        return int(found["exit_code"]) if found and found["id"] == self.id else None


def record(job: Job, kind: str, number: str) -> Submitted:
    """Note that a job was given to a cluster, under which id, and return it."""
    made = _Record(kind=kind, id=number, name=job.name, submitted=time.time())
    _write(job.folder / RECORD, asdict(made))
    return Submitted(job.folder, made)


def submitted(directory: Path) -> list[Submitted]:
    """Return the last job of each name that was submitted for a dataset, run or study."""
    folders = sorted(path.parent for path in directory.glob(f"logs/*/{RECORD}"))
    found = [(folder, _read(folder / RECORD)) for folder in folders]
    return [Submitted(folder, _Record(**values)) for folder, values in found if values]


def in_queue(job: Job) -> Submitted | None:
    """Return what was submitted of this job earlier, where the cluster has not done with it."""
    for earlier in submitted(job.directory):
        if earlier.folder == job.folder and earlier.state() is not None:
            return earlier
    return None


def note_end(folder: Path, number: str, code: int) -> None:
    """Leave word that a job has ended for good; `number` is its id."""
    _write(folder / ENDED, {"id": number, "exit_code": code})


def _write(path: Path, values: dict[str, Any]) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(values))
    draft.replace(path)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return found
