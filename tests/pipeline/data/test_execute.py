"""Tasks on this machine; what all executors promise is in test_executors.py."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.data.execute import ExecuteConfig, run_tasks
from pipeline.data.executor import Fault, Tasks
from pipeline.errors import ConfigError, FormatError, StageError
from tests.pipeline.data.steps import Scripted, attempts

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(ROOT)  # workers import the steps
    (tmp_path / "touched").mkdir()
    return tmp_path / "touched"


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_runs_once_and_never_again(tmp_path: Path, folder: Path, workers: int) -> None:
    for _ in range(2):
        run_tasks([Scripted(folder)], 3, tmp_path / "work", ExecuteConfig(workers=workers), "test")

    assert attempts(folder, 3) == [1, 1, 1]


def test_after_the_last_attempt_the_error_says_why_and_where_the_log_is(tmp_path: Path, folder: Path) -> None:
    step = Scripted(folder, {0: "fails fails"})

    with pytest.raises(StageError, match=r"task 0: RuntimeError: a broken task \(log .*task_00000\.log\)"):
        run_tasks([step], 1, tmp_path / "work", ExecuteConfig(workers=1), "test")

    assert "a broken task" in (tmp_path / "work" / "logs" / "task_00000.log").read_text()


def test_of_many_failed_tasks_the_first_are_told(tmp_path: Path, folder: Path) -> None:
    step = Scripted(folder, dict.fromkeys(range(12), "fails"))

    with pytest.raises(
        StageError, match=r"12 of 13 tasks failed[\s\S]*task 9: [\s\S]*and 2 more in"
    ) as failure:
        run_tasks([step], 13, tmp_path / "work", ExecuteConfig(workers=1, retries=0), "test")

    assert "task 10:" not in str(failure.value)
    assert attempts(folder, 13) == [1] * 13


def test_a_killed_task_leaves_those_beside_it_at_work(tmp_path: Path, folder: Path) -> None:
    step = Scripted(folder, {0: "sleeps", 1: "killed"})

    run_tasks([step], 3, tmp_path / "work", ExecuteConfig(workers=2), "test")

    assert attempts(folder, 3) == [1, 2, 1]


def test_a_task_that_is_killed_each_time_is_said_to_be_killed(tmp_path: Path, folder: Path) -> None:
    step = Scripted(folder, {0: "killed killed"})

    with pytest.raises(
        StageError, match="task 0: killed by SIGKILL, as the kernel does when memory runs out"
    ):
        run_tasks([step], 1, tmp_path / "work", ExecuteConfig(workers=2), "test")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_said_in_words_and_not_tried_again(tmp_path: Path, folder: Path, workers: int) -> None:
    step = Scripted(folder, {0: "full full"})

    with pytest.raises(StageError, match=r"test: no space left on the disk of .*make room"):
        run_tasks([step], 2, tmp_path / "work", ExecuteConfig(workers=workers), "test")

    assert attempts(folder, 2) == [1, 1]


def test_an_earlier_fault_is_not_told_of_a_later_attempt(tmp_path: Path, folder: Path) -> None:
    step = Scripted(folder, {0: "refuses killed killed"})
    config = ExecuteConfig(workers=2, retries=0)
    with pytest.raises(FormatError, match="cut off"):
        run_tasks([step], 1, tmp_path / "work", config, "test")

    with pytest.raises(StageError, match="killed by SIGKILL"):
        run_tasks([step], 1, tmp_path / "work", config, "test")


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_is_printed(
    tmp_path: Path, folder: Path, capfd: pytest.CaptureFixture[str], workers: int
) -> None:
    step = Scripted(folder, {1: "fails"})

    run_tasks([step], 2, tmp_path / "work", ExecuteConfig(workers=workers), "test")

    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_tasks_end_with_the_command_that_started_them(tmp_path: Path, folder: Path) -> None:
    program = (
        "from pathlib import Path; from tests.pipeline.data.steps import Scripted;"
        "from pipeline.data.execute import ExecuteConfig, run_tasks;"
        f"step = Scripted(Path({str(folder)!r}), {{0: 'works-on', 1: 'works-on'}});"
        f"run_tasks([step], 2, Path({str(tmp_path / 'work')!r}), ExecuteConfig(workers=2), 'test')"
    )
    command = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    while len(tasks := list(folder.glob("process-*"))) < 2:
        assert command.poll() is None
        time.sleep(0.02)

    command.send_signal(signal.SIGKILL)
    command.wait()

    left = [int(task.name.partition("-")[2]) for task in tasks]
    end = time.monotonic() + 10
    while any(map(is_alive, left)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(is_alive, left))


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_relative_paths_of_steps_count_from_where_the_command_started(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    run_tasks([Scripted(Path("touched"))], 2, Path("work"), ExecuteConfig(workers=2), "test")

    assert attempts(folder, 2) == [1, 1]


def test_a_fault_of_ours_keeps_its_class_and_any_other_its_words() -> None:
    ours, other = (
        Fault.of(ConfigError(["a: wrong", "b: wrong"])),
        Fault.of(OSError(28, "No space left", "x\udcff")),
    )

    assert isinstance(raised := ours.ours(), ConfigError)
    assert str(raised) == "a: wrong\nb: wrong"
    assert other.ours() is None
    assert other.is_full_disk
    assert "udcff" in other.told


def test_a_rank_that_said_nothing_has_a_fault_all_the_same(tmp_path: Path) -> None:
    tasks = Tasks.of([], 1, tmp_path, "test")

    assert "without a word" in tasks.fault(0).told
