import errno
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.data.execute import ExecuteConfig, run_tasks
from pipeline.errors import FormatError, StageError


@dataclass
class Touch:
    """A step that notes each attempt, and fails for one rank as often as it is told."""

    folder: Path
    failing: int = -1
    failures: int = 0
    fault: Exception = RuntimeError("a broken task")

    def __call__(self, data: object, rank: int, world_size: int) -> Iterator[None]:
        attempt = len(list(self.folder.glob(f"{rank}-*")))
        (self.folder / f"{rank}-{attempt}").touch()
        if rank == self.failing and attempt < self.failures:
            raise self.fault
        yield None


def attempts(folder: Path, tasks: int) -> list[int]:
    return [len(list(folder.glob(f"{rank}-*"))) for rank in range(tasks)]


@dataclass
class Killed(Touch):
    """A step whose process is killed, as by the kernel when memory runs out."""

    def __call__(self, data: object, rank: int, world_size: int) -> Iterator[None]:
        attempt = len(list(self.folder.glob(f"{rank}-*")))
        (self.folder / f"{rank}-{attempt}").touch()
        if rank == self.failing and attempt < self.failures:
            os.kill(os.getpid(), signal.SIGKILL)
        yield None


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.syspath_prepend(Path(__file__).parents[3])  # workers import this file to find the steps
    (tmp_path / "touched").mkdir()
    return tmp_path / "touched"


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_runs_once_and_never_again(tmp_path: Path, folder: Path, workers: int):
    for _ in range(2):
        run_tasks([Touch(folder)], 3, tmp_path / "logs", ExecuteConfig(workers=workers), "test")

    assert attempts(folder, 3) == [1, 1, 1]


def test_a_failed_task_is_tried_again_without_those_that_are_done(tmp_path: Path, folder: Path):
    run_tasks(
        [Touch(folder, failing=1, failures=1)],
        3,
        tmp_path / "logs",
        ExecuteConfig(workers=1, retries=1),
        "test",
    )

    assert attempts(folder, 3) == [1, 2, 1]


def test_after_the_last_attempt_the_error_says_where_the_log_is(tmp_path: Path, folder: Path):
    with pytest.raises(StageError, match=r"test: RuntimeError: a broken task \(2 attempts, logs in .*logs\)"):
        run_tasks(
            [Touch(folder, failing=0, failures=9)],
            1,
            tmp_path / "x",
            ExecuteConfig(workers=1, retries=1),
            "test",
        )

    assert "a broken task" in (tmp_path / "x" / "logs" / "task_00000.log").read_text()


def test_a_killed_worker_is_noticed_and_its_task_tried_again(tmp_path: Path, folder: Path):
    run_tasks([Killed(folder, failing=1, failures=1)], 3, tmp_path / "logs", ExecuteConfig(workers=2), "test")

    assert attempts(folder, 3)[1] == 2


def test_a_failed_task_does_not_end_the_others(tmp_path: Path, folder: Path):
    with pytest.raises(StageError):
        run_tasks([Touch(folder, 0, 9)], 4, tmp_path / "logs", ExecuteConfig(workers=2, retries=0), "test")

    assert attempts(folder, 4) == [1, 1, 1, 1]


def test_an_error_of_ours_passes_as_it_is_and_at_once(tmp_path: Path, folder: Path):
    step = Touch(folder, failing=0, failures=9, fault=FormatError("x.jsonl.zst: cut off"))

    with pytest.raises(FormatError, match="cut off"):
        run_tasks([step], 1, tmp_path / "logs", ExecuteConfig(workers=1, retries=3), "test")
    assert attempts(folder, 1) == [1]


def test_a_full_disk_is_said_in_words(tmp_path: Path, folder: Path):
    step = Touch(folder, failing=0, failures=9, fault=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    with pytest.raises(StageError, match="no space left on the disk"):
        run_tasks([step], 1, tmp_path / "logs", ExecuteConfig(workers=1), "test")


def test_nothing_is_printed(tmp_path: Path, folder: Path, capfd):
    run_tasks([Touch(folder)], 2, tmp_path / "logs", ExecuteConfig(workers=2), "test")

    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
