"""Steps that fail as they are told; a module of its own, for workers on any executor to import."""

import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import FormatError


@dataclass
class Scripted:
    """A step that notes each attempt, and does for a rank what its script says, attempt by attempt."""

    folder: Path
    scripts: Mapping[int, str] = field(default_factory=dict)

    def __call__(self, data: object, rank: int, world_size: int) -> Iterator[None]:
        attempt = len(list(self.folder.glob(f"{rank}-*")))
        (self.folder / f"{rank}-{attempt}").touch()
        script = self.scripts.get(rank, "").split()
        if attempt < len(script):
            FATES[script[attempt]](self.folder)
        yield None


def attempts(folder: Path, tasks: int) -> list[int]:
    return [len(list(folder.glob(f"{rank}-*"))) for rank in range(tasks)]


def _fail(_: Path) -> None:
    raise RuntimeError("a broken task")


def _refuse(_: Path) -> None:
    raise FormatError("x.jsonl.zst: cut off")


def _fill_the_disk(_: Path) -> None:
    with open("/dev/full", "w") as file:  # noqa: PTH123 - a device whose every write finds no room
        file.write("x")


def _be_killed(_: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)  # as by the kernel when memory runs out


def _work_on(folder: Path) -> None:
    (folder / f"process-{os.getpid()}").touch()
    time.sleep(60)


FATES = {
    "fails": _fail,
    "refuses": _refuse,
    "full": _fill_the_disk,
    "killed": _be_killed,
    "sleeps": lambda _: time.sleep(1),
    "works-on": _work_on,
}
