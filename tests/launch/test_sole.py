import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from launch import sole
from launch.environment import node_name
from launch.launcher import Job
from launch.process import beginning
from launch.sole import AlreadyStarted, sole_start


def job(folder: Path, node: str = "") -> Job:
    return Job(name="train", argv=("train",), directory=folder, node=node)


def test_a_second_start_is_refused_by_the_name_of_the_first(tmp_path: Path) -> None:
    holds = (
        "import sys, time; from pathlib import Path; from launch.launcher import Job\n"
        "from launch.sole import sole_start\n"
        f"with sole_start(Job(name='train', argv=(), directory=Path({str(tmp_path)!r}))):\n"
        "    print('holds', flush=True); time.sleep(60)"
    )
    first = subprocess.Popen([sys.executable, "-c", holds], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None and first.stdout.readline() == "holds\n"

    first_one = rf"process {first.pid} on .* is at work on this train already"
    with pytest.raises(AlreadyStarted, match=first_one), sole_start(job(tmp_path)):
        raise AssertionError("two at once")
    first.kill()
    first.wait()
    first.stdout.close()
    with sole_start(job(tmp_path)):  # its end, however it came, has released the folder
        pass


def test_each_of_several_nodes_starts_for_itself(tmp_path: Path) -> None:
    with sole_start(job(tmp_path, "node-0")), sole_start(job(tmp_path, "node-1")):
        pass


def note(folder: Path, **changed: object) -> None:
    """Leave the record of a rank that this process is."""
    own = {"rank": 3, "node": node_name(), "pid": os.getpid(), "began": beginning(os.getpid())}
    folder.mkdir(parents=True)
    (folder / "rank-3.json").write_text(json.dumps(own | changed))


def test_a_rank_that_an_earlier_start_has_left_is_waited_for_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sole, "PATIENCE_SECONDS", 0.1)
    note(job(tmp_path).folder)

    left = f"rank 3 of an earlier start, process {os.getpid()} on"
    with pytest.raises(AlreadyStarted, match=left), sole_start(job(tmp_path)):
        raise AssertionError("while a rank is at work")


@pytest.mark.parametrize("changed", [{"began": 1}, {"node": "another"}])
def test_another_process_of_the_same_number_is_no_rank(tmp_path: Path, changed: dict[str, object]) -> None:
    note(job(tmp_path).folder, **changed)

    with sole_start(job(tmp_path)):
        pass
