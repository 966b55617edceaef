"""What an executor is given and what it promises; the choices are in `executors/`.

datatrove runs a pipeline (a list of steps) once for each rank; a rank is one task, and their number follows
from the inputs and never from the workers. Its executors differ in how they tell of a failure, if at all, so
the steps run inside one step of ours, `Attempt`, which leaves a file that says why a rank failed.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import pickle
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from pipeline import errors
from pipeline.formats.publish import is_full_disk, read_json, write_bytes, write_json

Step = Callable[[Any, int, int], Any]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Why a rank failed; `error` names the class if it is one of `pipeline.errors`."""

    told: str
    message: str = ""
    error: str | None = None
    number: int | None = None

    @classmethod
    def of(cls, fault: BaseException) -> Fault:
        """Return what is kept of an exception: enough to raise our own errors again, in another process."""
        message = str(fault).encode(errors="backslashreplace").decode()
        number = fault.errno if isinstance(fault, OSError) else None
        ours = next((each for each in type(fault).__mro__ if each.__module__ == errors.__name__), None)
        return cls(
            told=f"{type(fault).__name__}: {message}",
            message=message,
            error=ours.__name__ if ours else None,
            number=errno.ENOSPC if is_full_disk(fault) else number,
        )

    @property
    def is_full_disk(self) -> bool:
        """Tell whether there was no room to write."""
        return self.number in (errno.ENOSPC, errno.EDQUOT)

    def ours(self) -> errors.LoglinearError | None:
        """Return the error to raise where it is one of ours."""
        return getattr(errors, self.error)(self.message) if self.error else None


SILENT = Fault(told="ended without a word: killed, or out of memory or time")


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """The tasks of one pass over the data: the same (pickled) steps for ranks 0 to `number` - 1.

    `directory` holds datatrove's logs and completion marks, and the faults. It is absolute; relative paths
    inside the steps count from `start`, wherever a task runs.
    """

    name: str
    number: int
    directory: Path
    start: Path
    steps: bytes

    @classmethod
    def of(cls, steps: Sequence[Step], number: int, directory: Path, name: str) -> Tasks:
        """Return the tasks as another process can have them."""
        where = {"directory": directory.absolute(), "start": Path.cwd()}
        return cls(name=name, number=number, steps=pickle.dumps(list(steps)), **where)

    def incomplete(self) -> list[int]:
        """Return the ranks that are not marked as complete."""
        marks = self.directory / "completions"
        complete = {mark.name for mark in marks.iterdir()} if marks.is_dir() else set()
        return [rank for rank in range(self.number) if f"{rank:05d}" not in complete]

    def log(self, rank: int) -> Path:
        """Return where a rank's log is."""
        return self.directory / "logs" / f"task_{rank:05d}.log"

    def fault(self, rank: int) -> Fault:
        """Return why a rank failed."""
        path = self._fault(rank)
        if path.is_file():
            return Fault(**read_json(path))
        return SILENT if self._has_room() else Fault(told=os.strerror(errno.ENOSPC), number=errno.ENOSPC)

    def note(self, rank: int, fault: Fault) -> None:
        """Say why a rank failed; on a full disk, to say nothing must do."""
        with contextlib.suppress(OSError):
            write_json(self._fault(rank), asdict(fault))

    def forget(self, rank: int) -> None:
        """Remove what an earlier attempt said."""
        self._fault(rank).unlink(missing_ok=True)

    def _has_room(self) -> bool:
        """Tell whether a rank could have said why it failed."""
        probe = self._fault(0).with_name("room")
        try:
            write_bytes(probe, bytes(4096))
        except OSError as fault:
            return not is_full_disk(fault)
        probe.unlink()
        return True

    def _fault(self, rank: int) -> Path:
        return self.directory / "faults" / f"{rank:05d}.json"


class Executor(Protocol):
    """Somewhere to run tasks."""

    def run(self, tasks: Tasks, workers: int | None) -> None:
        """Run the incomplete ranks once each, and return when all have ended, well or not.

        A failed or killed rank disturbs no other. Raises only if the tasks cannot be run at all.
        """

    def settle(self, directory: Path) -> None:
        """End what a killed command left at work on the tasks of a directory."""


class Attempt:
    """All steps of a task as one step, which says why it failed before it does."""

    def __init__(self, tasks: Tasks):
        self.tasks = tasks

    def __repr__(self) -> str:
        return f"{self.tasks.name}, {self.tasks.number} tasks"

    def __call__(self, _data: object, rank: int, world_size: int) -> None:
        """Run the pipeline of one rank, with steps of its own."""
        os.chdir(self.tasks.start)
        try:
            data = None
            for step in pickle.loads(self.tasks.steps):
                data = step(data, rank, world_size)
            deque(data or (), maxlen=0)
        except Exception as fault:
            self.tasks.note(rank, Fault.of(fault))
            raise


class Silence(io.TextIOBase):
    """A console that shows nothing; unlike /dev/null it need not be closed, and loguru holds on to it."""

    def write(self, text: str) -> int:
        """Take the text and forget it."""
        return len(text)


def silence_datatrove() -> None:
    """Keep datatrove's log off the console of this process; its files stay."""
    from datatrove.utils.logging import setup_default_logger

    with redirect_stderr(Silence()):
        setup_default_logger()
