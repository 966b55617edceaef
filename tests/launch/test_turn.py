import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launch.rank import STOPPED
from tests.launch.pretended import Slurm

ROOT = Path(__file__).parents[2]
# A rank that works until it is asked to stop; then, or at once, it ends with a code and a word.
RANK = """
import signal, sys, time
from launch.rank import reporting
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
with reporting() as farewell:
    print("at work", flush=True)
    while {works} and not asked:
        time.sleep(0.01)
    sys.exit(farewell({code}, "the word"))
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    folder = tmp_path / "cluster"
    folder.mkdir()
    slurm = Slurm(folder, monkeypatch)
    slurm.becomes("7", "RUNNING")
    return slurm


def start(folder: Path, works: bool, code: int) -> "subprocess.Popen[str]":
    environment = {
        **os.environ,
        "LOGLINEAR_JOB": str(folder),
        "SLURM_JOB_ID": "7",
        "SLURM_RESTART_COUNT": "2",
    }
    rank = [sys.executable, "-c", RANK.format(works=works, code=code)]
    return subprocess.Popen(
        [sys.executable, "-m", "launch.turn", *rank],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until_at_work(turn: "subprocess.Popen[str]", folder: Path) -> None:
    assert turn.stdout is not None
    assert turn.stdout.readline() == "at work\n"
    while not (folder / "rank-0.json").exists():
        time.sleep(0.01)


def end_of(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / "ended.json").read_text()))


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_warned_job_saves_its_work_and_goes_back_into_the_queue(
    number: signal.Signals, tmp_path: Path, cluster: Slurm
) -> None:
    folder = tmp_path / "job"
    turn = start(folder, works=True, code=STOPPED)
    until_at_work(turn, folder)
    turn.send_signal(number)

    _, said = turn.communicate(timeout=60)

    assert turn.returncode == -signal.SIGKILL  # as Slurm ends what it queues again
    assert cluster.said("controlled") == ["requeue 7"]
    assert "job 7 starts, restart 2\n" in said
    assert f"{number.name}: asking the ranks to save their work\n" in said
    assert not (folder / "ended.json").exists()


@pytest.mark.parametrize("state", ["COMPLETING", "PENDING", ""])
def test_a_job_that_slurm_ends_itself_is_not_queued_again(state: str, tmp_path: Path, cluster: Slurm) -> None:
    folder = tmp_path / "job"
    turn = start(folder, works=True, code=STOPPED)
    until_at_work(turn, folder)
    cluster.becomes("7", state)
    turn.send_signal(signal.SIGTERM)

    _, said = turn.communicate(timeout=60)

    assert (turn.returncode, cluster.said("controlled")) == (STOPPED, [])
    assert "Slurm ends this turn itself" in said
    assert not (folder / "ended.json").exists()


def test_a_halted_job_is_not_queued_again(tmp_path: Path, cluster: Slurm) -> None:
    folder = tmp_path / "job"
    turn = start(folder, works=True, code=STOPPED)
    until_at_work(turn, folder)
    (folder / "halt").touch()

    turn.communicate(timeout=60)

    assert (turn.returncode, cluster.said("controlled")) == (STOPPED, [])
    assert end_of(folder) == {"id": "7", "exit_code": STOPPED}


def test_a_job_halted_while_it_waited_does_not_begin(tmp_path: Path, cluster: Slurm) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "halt").touch()

    turn = start(folder, works=True, code=0)

    assert "at work" not in turn.communicate(timeout=60)[0]
    assert turn.returncode == STOPPED


def test_a_job_that_slurm_does_not_queue_again_says_so(tmp_path: Path, cluster: Slurm) -> None:
    cluster.plays("scontrol", "echo 'Job is not requeueable' >&2; exit 1")
    folder = tmp_path / "job"
    turn = start(folder, works=False, code=STOPPED)

    _, said = turn.communicate(timeout=60)

    assert turn.returncode == STOPPED
    assert "Job is not requeueable); submit the same command again" in said
    assert end_of(folder)["exit_code"] == STOPPED


def test_a_job_whose_end_meets_scontrol_itself_is_in_the_queue(tmp_path: Path, cluster: Slurm) -> None:
    queue = tmp_path / "cluster" / "queue"
    cluster.plays("scontrol", f"sed -i s/RUNNING/PENDING/ {queue}; (sleep 2; kill -9 $PPID) & kill -9 $$")
    folder = tmp_path / "job"
    turn = start(folder, works=False, code=STOPPED)

    _, said = turn.communicate(timeout=60)

    assert turn.returncode == -signal.SIGKILL
    assert "does not queue it again" not in said
    assert not (folder / "ended.json").exists()


def test_the_rank_that_failed_first_is_named_and_the_job_not_queued_again(
    tmp_path: Path, cluster: Slurm
) -> None:
    folder = tmp_path / "job"
    turn = start(folder, works=False, code=2)

    _, said = turn.communicate(timeout=60)

    assert (turn.returncode, cluster.said("controlled")) == (2, [])
    assert "rank 0 of 1 on " in said and "failed first (exit code 2): the word" in said
    assert end_of(folder) == {"id": "7", "exit_code": 2}


def test_a_finished_job_ends_well(tmp_path: Path, cluster: Slurm) -> None:
    turn = start(tmp_path / "job", works=False, code=0)

    turn.communicate(timeout=60)

    assert turn.returncode == 0
    assert end_of(tmp_path / "job") == {"id": "7", "exit_code": 0}
