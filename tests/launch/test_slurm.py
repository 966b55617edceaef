import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launch import squeue
from launch.launcher import Job, Queue
from launch.launchers import slurm
from launch.submitted import State
from pipeline.elsewhere import launcher_from

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"


def job(name: str = "train", **values: Any) -> Job:
    directory = Path("runs/gpt2 117m")
    environment = {"PYTHONPATH": "/home/me/runs/gpt2 117m/code/0123456789abcdef.zip", "PYTHONSAFEPATH": "1"}
    argv = (name.partition("-")[0], f"{directory}/logs/{name}.yaml")
    return Job(**{"name": name, "argv": argv, "directory": directory, "environment": environment, **values})


def shipped(name: str) -> slurm.Slurm:
    launcher = launcher_from(ROOT / "configs" / "launch" / name)
    assert isinstance(launcher, slurm.Slurm) and isinstance(launcher, Queue)
    return launcher


ARRAY = slurm.Config(
    processes=2,
    at_once=16,
    restarts=1,
    setup=("module load cuda/12.4",),
    options={"constraint": "h100|a100", "mail-type": "END"},
)


@pytest.mark.parametrize(
    ("golden", "script"),
    [
        ("slurm", lambda: shipped("slurm.yaml").script(job())),
        ("slurm-alone", lambda: shipped("slurm.yaml").script(job("evaluate", alone=True, after=("7", "8")))),
        ("slurm-cpu", lambda: shipped("slurm-cpu.yaml").script(job("data", alone=True))),
        ("slurm-array", lambda: ARRAY.build().script_of([job("train-a"), job("train-b")])),
    ],
)
def test_a_job_is_submitted_by_the_golden_script(golden: str, script: Callable[[], str]) -> None:
    """If the change is wanted: write what is compared here over the golden file, and read the difference."""
    made = script().replace(sys.executable, "python").replace(str(Path.cwd()), "/home/me")

    assert made == (GOLDEN / f"{golden}.sh").read_text()
    subprocess.run(["bash", "-n"], input=made, text=True, check=True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nodes": 0}, r"nodes \(0\) must be at least 1"),
        ({"gpus": -1}, r"gpus \(-1\) must be at least 0"),
        ({"at_once": 0}, r"at_once \(0\) must be at least 1, or null"),
        ({"time": "a day"}, r"time \(a day\) must be as sbatch takes it"),
        ({"time": "5"}, r"time \(5\) is no longer than warn_seconds \(300\).*give it more time"),
        ({"options": {"output": "x"}}, "options: output: the script says that itself"),
    ],
)
def test_what_slurm_could_not_run_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        slurm.Config(**values)


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [
        ("90", 5400),
        ("90:30", 5430),
        ("1:00:00", 3600),
        ("2-0", 172800),
        ("1-2:30", 95400),
        ("1-0:0:9", 86409),
    ],
)
def test_a_time_limit_is_read_as_sbatch_reads_it(limit: str, seconds: int) -> None:
    assert slurm.seconds(limit) == seconds


def test_without_slurm_the_error_says_where_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ValueError, match="no sbatch here; start the command on a login node"):
        slurm.Config().build().submit(job(directory=tmp_path))


def tool(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_the_queue_is_asked_once_for_many_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["7|RUNNING|1:02|node-3", "8_0|PENDING|0:00|(Priority)", "8_1|COMPLETING|0:05|node-[1-2]"]
    tool(tmp_path, "squeue", f"echo >> {tmp_path}/asked\nprintf '%s\\n' {' '.join(map(repr, lines))}")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(squeue, "_seen", (-float("inf"), {}))

    found = [squeue.state(number) for number in ("7", "8_0", "8_1", "9")]

    assert found == [
        State(waits=False, words="RUNNING for 1:02 on node-3"),
        State(waits=True, words="PENDING (Priority)"),
        State(waits=False, words="COMPLETING for 0:05 on node-[1-2]"),
        None,
    ]
    assert (tmp_path / "asked").read_text() == "\n"


def test_what_slurm_refuses_is_told_in_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tmp_path, "sbatch", "echo 'sbatch: error: invalid partition specified: gpu' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    with pytest.raises(ValueError, match="invalid partition specified: gpu"):
        slurm.Config().build().submit(job(directory=tmp_path))


def test_a_task_of_an_array_knows_its_own_id() -> None:
    task = {"SLURM_JOB_ID": "12", "SLURM_ARRAY_JOB_ID": "9", "SLURM_ARRAY_TASK_ID": "3"}

    assert squeue.own_id(task) == "9_3"
    assert squeue.own_id({"SLURM_JOB_ID": "12"}) == "12"
