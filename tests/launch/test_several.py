"""A launcher that is killed before its ranks, or outlives them; each is a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from launch import several
from launch.environment import node_name
from launch.launcher import Job
from launch.outcome import outcome
from launch.process import beginning
from launch.several import Several

SLEEPS = [sys.executable, "-c", "import time; time.sleep(60)"]
SOON_SECONDS = 20.0


def note(job: Job, process: int, **more: object) -> None:
    """Leave the record of a rank of this node."""
    job.folder.mkdir(parents=True, exist_ok=True)
    record = {"rank": 0, "node": node_name(), "pid": process, "began": beginning(process), **more}
    (job.folder / "rank-0.json").write_text(json.dumps(record))


def soon(happens: Callable[[], object]) -> None:
    until = time.monotonic() + SOON_SECONDS
    while not happens():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(name="train", argv=(), directory=tmp_path)


def test_a_killed_launcher_has_ended_when_its_ranks_here_have(job: Job) -> None:
    rank = subprocess.Popen(SLEEPS)
    note(job, rank.pid)
    launcher = Several(SLEEPS, job, {}, grace=60)
    os.kill(int(launcher.id), signal.SIGKILL)
    time.sleep(0.5)

    assert launcher.poll() is None
    rank.kill()
    rank.wait()
    assert launcher.wait() == -signal.SIGKILL


def test_ranks_that_a_killed_launcher_has_left_are_killed_after_its_grace(job: Job) -> None:
    rank = subprocess.Popen(SLEEPS)
    note(job, rank.pid)
    launcher = Several(SLEEPS, job, {}, grace=0.2)
    os.kill(int(launcher.id), signal.SIGKILL)

    soon(lambda: launcher.poll() is not None or rank.poll())

    assert rank.wait() == -signal.SIGKILL


def test_a_launcher_that_outlives_its_ranks_is_ended(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(several, "LOOK_SECONDS", 0.0)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    note(job, ended.pid, exit_code=1)
    ended.wait()
    launcher = Several(SLEEPS, job, {}, grace=60, linger=0.2)

    soon(lambda: launcher.poll() is not None)

    assert launcher.poll() == -signal.SIGKILL


def test_a_launcher_whose_ranks_have_not_begun_is_left_alone(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(several, "LOOK_SECONDS", 0.0)
    launcher = Several(SLEEPS, job, {}, grace=60, linger=0.0)
    time.sleep(0.2)

    assert launcher.poll() is None
    os.kill(int(launcher.id), signal.SIGKILL)
    assert launcher.wait() == -signal.SIGKILL


def test_a_launcher_that_is_asked_before_any_rank_has_begun_ends(job: Job) -> None:
    job.folder.mkdir(parents=True)
    launcher = Several(SLEEPS, job, {}, grace=60)
    launcher.ask()

    assert launcher.wait() == -signal.SIGTERM
    assert outcome(job.folder, -signal.SIGTERM, asked=True) == (75, None)


def test_a_launcher_that_is_asked_leaves_it_to_its_ranks(job: Job) -> None:
    note(job, os.getpid())
    launcher = Several(SLEEPS, job, {}, grace=60)
    launcher.ask()
    time.sleep(0.2)

    assert launcher.poll() is None
    (job.folder / "rank-0.json").unlink()
    launcher.ask()
    assert launcher.wait() == -signal.SIGTERM
