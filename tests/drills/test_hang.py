"""A rank that hangs or crawls: found in the set time, named with its place; nobody waits."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.drills.conftest import Drill
from tests.drills.faults import HOLDS_THE_INTERPRETER, IS_SLOW, SLEEPS, plant
from tests.drills.jobs import ENGINES, Command, Job, ended, many_small_steps, wait_for
from tests.drills.nodes import patience

SECONDS = 6.0  # the watchdog's; a start may take three times that
SLACK_SECONDS = 5.0
DATA_PATH = "pipeline.train.batches:Batches.step"
PLACE = re.compile(r"pipeline/trainer/steps\.py:\d+ _in_turn")
FAULTS = {"sleeps": SLEEPS, "holds the interpreter": HOLDS_THE_INTERPRETER}
LONG = {"train_tokens": 10**9, "checkpoint": {"every_steps": 0}, "watchdog": {"seconds": SECONDS}}

pytestmark = pytest.mark.timed


def job_of(tmp_path: Path, dataset: Path, engine: str, processes: int, **changes: object) -> Job:
    values = {**many_small_steps(dataset), **LONG, "validation": {"every_steps": 0, "tokens": 256}, **changes}
    return Job(tmp_path / engine, values, engine, processes)


def last_row_is_old(job: Job, seconds: float) -> bool:
    return time.time() - job.run.metrics.stat().st_mtime > seconds


def hang(command: Command, job: Job, ranks: list[psutil.Process]) -> tuple[str, float]:
    """Wait for the end of a job that hangs; return what it told, and for how long its last rank was there."""
    began = job.run.metrics.stat().st_mtime
    psutil.wait_procs(ranks, timeout=120)
    seconds = time.time() - began
    assert not [rank for rank in ranks if rank.is_running() and rank.status() != psutil.STATUS_ZOMBIE]
    code, told = ended(command)
    assert code == 1, told
    return told, seconds


def log_of(job: Job, rank: int) -> str:
    folder = job.run.directory / "logs"
    own = folder / "train" / f"rank-{rank}.log"
    return (own if own.exists() else folder / "train.log").read_text(errors="replace")


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "processes"), [("fsdp2", 2), ("ZeRO-2", 2)])
def test_a_stopped_rank_is_named_and_all_are_gone(
    drill: Drill, dataset: Path, tmp_path: Path, engine: str, processes: int
) -> None:
    drill.promise("R7", f"SIGSTOP of a rank, {engine} on {processes}, found in {SECONDS:.0f} s")
    for trial in drill.trials(few=1, full=4):
        job = job_of(tmp_path / str(trial), dataset, engine, processes)
        command = job.start()
        assert wait_for(command, lambda job=job: len(job.run.rows()) > 3), ended(command)
        time.sleep(drill.random.uniform(0, 0.3))
        ranks, victim = job.ranks(), drill.random.randrange(processes)
        os.kill(ranks[victim].pid, signal.SIGSTOP)

        told, seconds = hang(command, job, ranks)

        assert f"rank {victim} of {processes} on " in told, told
        assert "was stopped by a signal" in told
        assert SECONDS - 1 < seconds < SECONDS + patience(SLACK_SECONDS), seconds
        assert "all threads" in log_of(job, 1 - victim)
        drill.passed()


@pytest.mark.parametrize(
    ("kind", "engine", "processes"),
    [
        ("sleeps", "single", 1),
        pytest.param("holds the interpreter", "fsdp2", 2, marks=pytest.mark.slow),
        pytest.param("sleeps", "fsdp2", 2, marks=pytest.mark.slow),
        pytest.param("sleeps", "ZeRO-2", 2, marks=pytest.mark.slow),
        pytest.param("holds the interpreter", "single", 1, marks=pytest.mark.slow),
        pytest.param("holds the interpreter", "ZeRO-2", 2, marks=pytest.mark.slow),
    ],
)
def test_a_rank_that_hangs_in_the_data_path_is_named_with_its_place(
    drill: Drill, dataset: Path, tmp_path: Path, monkeypatch, kind: str, engine: str, processes: int
) -> None:
    drill.promise("R7", f"a rank {kind} in the data path, {engine} on {processes}")
    for trial in drill.trials(few=1, full=3):
        victim, step = drill.random.randrange(processes), drill.random.randrange(3, 30)
        monkeypatch.setenv("PYTHONPATH", plant(tmp_path / "fault", DATA_PATH, FAULTS[kind], victim, step))
        job = job_of(tmp_path / str(trial), dataset, engine, processes)
        command = job.start()
        assert wait_for(command, lambda job=job, step=step: len(job.run.rows()) >= step - 1), ended(command)

        told, seconds = hang(command, job, job.ranks())

        assert PLACE.search(told), told
        if processes > 1:
            assert f"rank {victim} of {processes} on " in told, told
        assert seconds < SECONDS + patience(SLACK_SECONDS), seconds
        assert "_in_turn" in log_of(job, victim)
        drill.passed()


@pytest.mark.parametrize("engine", [engine for engine in ENGINES if engine != "single"])
@pytest.mark.slow
def test_a_rank_ten_times_slower_than_the_others_is_named_and_the_run_goes_on(
    drill: Drill, dataset: Path, tmp_path: Path, monkeypatch, engine: str
) -> None:
    drill.promise("R7", f"a rank ten times slower, {engine} on 2: told, and the run goes on")
    for trial in drill.trials(few=1, full=2):
        victim = drill.random.randrange(2)
        monkeypatch.setenv(
            "PYTHONPATH", plant(tmp_path / "fault", DATA_PATH, IS_SLOW, victim, 3, always=True)
        )
        job = job_of(tmp_path / str(trial), dataset, engine, 2, train_tokens=80 * 128)

        told = job.finish()

        found = [row for row in job.run.rows() if row.get("event") == "slow rank"]
        assert [row["rank"] for row in found] == [victim], found
        assert found[0]["factor"] >= 4
        assert f"rank {victim} on " in told and "is slow" in told
        drill.passed()
