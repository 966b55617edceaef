import json
from pathlib import Path

import pytest

from launch import submitted
from launch.launcher import Job
from launch.launchers import slurm
from launch.submitted import HALT, Submitted, in_queue, note_end
from tests.launch.pretended import Slurm


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    folder = tmp_path / "cluster"
    folder.mkdir()
    return Slurm(folder, monkeypatch)


def job(folder: Path, name: str = "train") -> Job:
    return Job(name=name, argv=(name, "c.yaml"), directory=folder)


def given(folder: Path) -> Submitted:
    return slurm.Config().build().submit(job(folder))


def test_a_submitted_job_is_found_until_it_has_ended_for_good(tmp_path: Path, cluster: Slurm) -> None:
    made = given(tmp_path)
    assert (made.id, made.poll()) == ("1", None)
    found = in_queue(job(tmp_path))
    assert found and (found.id, found.kind) == ("1", "slurm")
    assert in_queue(job(tmp_path, "evaluate")) is None

    cluster.becomes("1", "COMPLETING")
    note_end(made.folder, "1", 0)

    assert made.poll() == 0
    assert made.wait() == 0
    assert in_queue(job(tmp_path)) is None


def test_the_end_of_an_earlier_job_is_not_that_of_this_one(tmp_path: Path, cluster: Slurm) -> None:
    first = given(tmp_path)
    note_end(first.folder, "1", 1)
    cluster.becomes("1", "")

    assert given(tmp_path).poll() is None
    assert json.loads((first.folder / "submitted.json").read_text())["id"] == "2"


def test_a_job_that_is_gone_without_a_word_has_failed(
    tmp_path: Path, cluster: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = given(tmp_path)
    cluster.becomes("1", "")
    assert made.poll() is None  # its last word may be on its way

    monkeypatch.setattr(submitted, "LOST_SECONDS", -1.0)

    assert made.poll() == 1


def test_a_controller_that_does_not_answer_is_asked_again(tmp_path: Path, cluster: Slurm) -> None:
    made = given(tmp_path)
    cluster.plays("squeue", "echo 'slurm_load_jobs error' >&2; exit 1")

    assert made.poll() is None
    with pytest.raises(RuntimeError, match="slurm_load_jobs error"):
        made.state()


def test_a_running_job_is_asked_and_a_waiting_one_taken_out(tmp_path: Path, cluster: Slurm) -> None:
    made = given(tmp_path)
    cluster.becomes("1", "RUNNING")
    made.ask()
    assert ((made.folder / HALT).exists(), cluster.said("cancelled")) == (True, [])

    cluster.becomes("1", "PENDING")
    made.ask()
    assert cluster.said("cancelled") == ["1"]

    assert given(tmp_path).id == "2"
    assert not (made.folder / HALT).exists()


def test_jobs_become_one_array_but_for_those_that_are_there_already(tmp_path: Path, cluster: Slurm) -> None:
    launcher = slurm.Config().build()
    jobs = [job(tmp_path, name) for name in ("a", "b", "c", "d")]

    assert [made.id for made in launcher.submit_all(jobs[:1])] == ["1"]
    assert [made.id for made in launcher.submit_all(jobs)] == ["1", "2_0", "2_1", "2_2"]

    cluster.becomes("2_1", "")
    assert [made.id for made in launcher.submit_all(jobs)] == ["1", "2_0", "3", "2_2"]


def test_jobs_of_one_process_are_an_array_of_their_own(tmp_path: Path, cluster: Slurm) -> None:
    names = ("a", "b", "c", "d")
    jobs = [Job(name=name, argv=("x",), directory=tmp_path, alone=name > "b") for name in names]

    made = slurm.Config(processes=2).build().submit_all(jobs)

    assert [one.id for one in made] == ["1_0", "1_1", "2_0", "2_1"]
