"""What every executor promises: Ray is started for real where it is installed, Slurm with `-m slurm`."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.data.execute import ExecuteConfig, run_tasks
from pipeline.errors import FormatError, StageError
from tests.pipeline.data.steps import Scripted, attempts
from tests.pipeline.data.test_stage import build, hashes, prepared
from tests.slurm import cluster

ROOT = Path(__file__).parents[3]
# What is built here before the rest is built there, by kind: a task on Ray takes seconds to start.
LAST_HERE = {"local": "fetch", "ray": "decontaminate", "slurm": "fetch"}


@pytest.fixture(scope="module")
def ray() -> Iterator[dict[str, object]]:
    found = pytest.importorskip("ray", reason="pip install 'loglinear[ray]'")
    found.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield {"kind": "ray", "mem_per_cpu_gb": 0.1}
    found.shutdown()


@pytest.fixture(scope="module")
def slurm() -> Iterator[dict[str, object]]:
    with cluster.joined() as patch:
        patch.setattr("pipeline.data.executors.slurm.POLL_SECONDS", 0.3)
        yield {"kind": "slurm", "partition": "tests", "time": "5:00", "mem_per_cpu_gb": 1}


@pytest.fixture(params=["local", "ray", pytest.param("slurm", marks=pytest.mark.slurm)])
def executor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{os.environ.get('PYTHONPATH', '')}")  # the steps are ours
    monkeypatch.syspath_prepend(ROOT)
    return {"kind": "local"} if request.param == "local" else request.getfixturevalue(request.param)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "touched").mkdir()
    return tmp_path / "touched"


def test_a_bad_rank_is_tried_again_and_reported_and_disturbs_no_other(
    tmp_path: Path, folder: Path, executor: dict[str, object]
) -> None:
    step = Scripted(folder, {1: "fails", 2: "killed killed killed"})
    config = ExecuteConfig(executor=executor, workers=2, retries=1)

    with pytest.raises(StageError) as failure:
        run_tasks([step], 4, tmp_path / "work", config, "test")

    message = str(failure.value)
    assert message.startswith("test: 1 of 4 tasks failed in each of 2 attempts")
    assert "task 2: " in message
    assert "task_00002.log" in message
    assert attempts(folder, 4) == [1, 2, 2, 1]

    run_tasks([Scripted(folder)], 4, tmp_path / "work", config, "test")  # the same command again
    assert attempts(folder, 4) == [1, 2, 3, 1]


def test_an_error_of_ours_passes_as_it_is_once_all_ranks_had_their_turn(
    tmp_path: Path, folder: Path, executor: dict[str, object]
) -> None:
    step = Scripted(folder, {0: "refuses refuses"})

    with pytest.raises(FormatError, match=r"^x\.jsonl\.zst: cut off$"):
        run_tasks([step], 3, tmp_path / "work", ExecuteConfig(executor=executor, workers=2), "test")

    assert attempts(folder, 3) == [1, 1, 1]


def test_shards_do_not_depend_on_where_they_are_made(tmp_path: Path, executor: dict[str, object]) -> None:
    build(prepared(tmp_path / "here"))
    there = prepared(tmp_path / "there")
    build(there, until=LAST_HERE[str(executor["kind"])])

    build(there, f"execute.executor={executor}", "execute.workers=2")

    assert hashes(tmp_path / "there") == hashes(tmp_path / "here")


@pytest.fixture
def started(slurm: dict[str, object], tmp_path: Path, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command whose second task is at work on the cluster."""
    program = (
        "from pathlib import Path; from tests.pipeline.data.steps import Scripted;"
        "from pipeline.data.execute import ExecuteConfig, run_tasks;"
        f"step = Scripted(Path({str(folder)!r}), {{1: 'works-on'}});"
        f"run_tasks([step], 2, Path({str(tmp_path / 'work')!r}), ExecuteConfig(executor={slurm!r}), 'test')"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.DEVNULL, env=environment
    ) as command:
        end = time.monotonic() + 60
        while not list(folder.glob("process-*")) and time.monotonic() < end:
            time.sleep(0.05)
        yield command
        command.kill()


def queue() -> str:
    return subprocess.run(["squeue", "--noheader"], capture_output=True, text=True, check=True).stdout


@pytest.mark.slurm
def test_what_a_killed_command_left_in_the_queue_is_ended_before_its_tasks_run_again(
    tmp_path: Path, folder: Path, started: subprocess.Popen[bytes]
) -> None:
    started.send_signal(signal.SIGKILL)
    started.wait()
    assert queue() != ""

    # Somewhere else, at that: who runs the tasks now need not know Slurm.
    run_tasks([Scripted(folder)], 2, tmp_path / "work", ExecuteConfig(workers=1), "test")

    assert queue() == ""
    (writer,) = folder.glob("process-*")
    assert not Path("/proc", writer.name.partition("-")[2]).exists()
    assert attempts(folder, 2) == [1, 2]


@pytest.mark.slurm
def test_an_interrupted_command_takes_its_jobs_with_it(started: subprocess.Popen[bytes]) -> None:
    started.send_signal(signal.SIGINT)
    started.wait()

    end = time.monotonic() + 20
    while queue() and time.monotonic() < end:
        time.sleep(0.1)
    assert queue() == ""


@pytest.mark.slurm
def test_a_task_that_never_started_is_told_with_what_slurm_wrote(
    tmp_path: Path, folder: Path, slurm: dict[str, object]
) -> None:
    executor = {**slurm, "env_command": "echo error: no such environment; exit 3"}

    with pytest.raises(StageError, match=r"task 0: error: no such environment \(.*/slurm/.*\.out\)"):
        run_tasks(
            [Scripted(folder)], 1, tmp_path / "work", ExecuteConfig(executor=executor, retries=0), "test"
        )


@pytest.mark.slurm
def test_a_job_that_the_cluster_refuses_is_an_error_at_once(
    tmp_path: Path, folder: Path, slurm: dict[str, object]
) -> None:
    executor = {**slurm, "partition": "nowhere"}

    with pytest.raises(StageError, match="test: sbatch refused the job with exit code 1"):
        run_tasks([Scripted(folder)], 1, tmp_path / "work", ExecuteConfig(executor=executor), "test")


def test_without_slurm_the_error_says_where_to_start(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    config = ExecuteConfig(executor={"kind": "slurm", "partition": "cpu"})

    with pytest.raises(StageError, match="no sbatch here; start the command on a login node"):
        run_tasks([Scripted(folder)], 1, tmp_path / "work", config, "test")
