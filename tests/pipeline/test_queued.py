from pathlib import Path

import pytest

from launch.launcher import Job
from launch.launchers import slurm
from launch.submitted import note_end
from pipeline import elsewhere
from pipeline.config import Schema, execution
from pipeline.errors import ConfigError, StageError
from pipeline.queued import status_lines, stop, waited_for
from tests.launch.pretended import Slurm


class Config(Schema):
    out: Path = execution()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    folder = tmp_path / "cluster"
    folder.mkdir()
    return Slurm(folder, monkeypatch)


@pytest.fixture
def on(tmp_path: Path) -> Path:
    path = tmp_path / "slurm.yaml"
    path.write_text("kind: slurm\nprocesses: 4\n")
    return path


def submit(directory: Path, name: str = "train") -> None:
    job = Job(name=name, argv=(name, "c.yaml"), directory=directory)
    slurm.Config().build().submit(job)


def test_submitting_returns_at_once_with_the_id_and_where_to_look(
    tmp_path: Path, on: Path, cluster: Slurm
) -> None:
    told = elsewhere.send("train", Config(out=tmp_path / "x"), {}, on, dry_run=False)

    assert told.startswith(f"{tmp_path}/x: train is job 1; `loglinear status {tmp_path}/x` follows it")
    assert "-m pipeline train" in (tmp_path / "x/logs/train/job.sh").read_text()
    assert (tmp_path / "x/logs/train.yaml").read_text() == f"out: {tmp_path}/x\n"


def test_a_job_that_is_in_the_queue_already_is_refused_with_its_id_and_left_as_it_is(
    tmp_path: Path, on: Path, cluster: Slurm
) -> None:
    config = Config(out=tmp_path / "x")
    elsewhere.send("train", config, {}, on, dry_run=False)
    (tmp_path / "x/logs/train.yaml").write_text("of the first")

    with pytest.raises(StageError, match="train is in the queue already, as job 1; loglinear status"):
        elsewhere.send("train", config, {}, on, dry_run=False)

    assert (tmp_path / "x/logs/train.yaml").read_text() == "of the first"
    cluster.becomes("1", "")
    assert "is job 2" in elsewhere.send("train", config, {}, on, dry_run=False)


def test_a_stage_of_one_process_asks_for_one(tmp_path: Path, on: Path) -> None:
    script = elsewhere.send("data", Config(out=tmp_path / "x"), {}, on, dry_run=True)

    assert "#SBATCH --cpus-per-task=1\n" in script
    assert "srun" not in script
    assert not (tmp_path / "x").exists()


def test_a_job_waits_for_others_by_id_or_by_what_they_work_on(
    tmp_path: Path, on: Path, cluster: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(tmp_path / "data", "data")
    submit(tmp_path / "data", "again")
    after = ["77", str(tmp_path / "data")]

    script = elsewhere.send("train", Config(out=tmp_path / "x"), {}, on, dry_run=True, after=after)

    assert "#SBATCH --dependency=afterok:77:2:1\n" in script
    assert "#SBATCH --kill-on-invalid-dep=yes\n" in script


def test_what_has_ended_well_is_not_waited_for_and_what_has_failed_is_told(
    tmp_path: Path, cluster: Slurm
) -> None:
    submit(tmp_path)
    assert waited_for(str(tmp_path), dry_run=False) == ["1"]
    note_end(tmp_path / "logs/train", "1", 0)
    assert waited_for(str(tmp_path), dry_run=False) == []

    note_end(tmp_path / "logs/train", "1", 2)
    with pytest.raises(ConfigError, match=r"train \(job 1; its output is in .*\) did not end well"):
        waited_for(str(tmp_path), dry_run=False)
    with pytest.raises(ConfigError, match="no job was submitted for it"):
        waited_for(str(tmp_path / "nothing"), dry_run=False)
    assert waited_for(str(tmp_path / "nothing"), dry_run=True) == [f"JOB-OF-{tmp_path}/nothing"]


def test_only_a_queue_lets_jobs_wait(tmp_path: Path) -> None:
    (tmp_path / "local.yaml").write_text("kind: local\n")

    with pytest.raises(ConfigError, match="has no queue in which a job waits for others"):
        elsewhere.send("train", Config(out=tmp_path), {}, tmp_path / "local.yaml", dry_run=True, after=["1"])


def test_the_state_of_a_job_is_told_with_the_end_of_its_output(tmp_path: Path, cluster: Slurm) -> None:
    submit(tmp_path)
    assert status_lines(tmp_path) == ["train: slurm job 1, PENDING (Priority)"]

    cluster.becomes("1", "RUNNING")
    (tmp_path / "logs/train/rank-0.log").write_text("".join(f"line {n}\n" for n in range(9)))
    running = [f"  line {n}" for n in range(4, 9)]
    assert status_lines(tmp_path) == ["train: slurm job 1, RUNNING for 1:02 on node-3", *running]

    note_end(tmp_path / "logs/train", "1", 1)
    assert status_lines(tmp_path)[0].startswith("train: slurm job 1, ended with exit code 1; submitted 0 min")

    note_end(tmp_path / "logs/train", "1", 0)
    assert status_lines(tmp_path) == []


def test_where_slurm_is_not_known_a_status_says_what_is(tmp_path: Path, cluster: Slurm) -> None:
    submit(tmp_path)
    cluster.plays("squeue", "exit 1")

    assert status_lines(tmp_path)[0].startswith("train: slurm job 1, of which nothing is known here: squeue")


def test_stopping_reaches_every_job_and_without_one_the_run(tmp_path: Path, cluster: Slurm) -> None:
    submit(tmp_path)
    submit(tmp_path, "evaluate")
    cluster.becomes("1", "RUNNING")

    said = stop(tmp_path)

    assert said.splitlines() == [
        f"{tmp_path}: evaluate (job 2) is asked to save its work and end",
        f"{tmp_path}: train (job 1) is asked to save its work and end",
    ]
    assert cluster.said("cancelled") == ["2"]
    assert (tmp_path / "logs/train/halt").exists()

    cluster.becomes("1", "")
    with pytest.raises(StageError, match="no run is here"):
        stop(tmp_path)
    (tmp_path / "config.yaml").touch()
    assert stop(tmp_path) == f"{tmp_path}: will stop after the step it is at"
    assert (tmp_path / "stop").exists()


def test_a_study_stays_here_and_leads_the_jobs_of_a_queue_but_goes_elsewhere_as_a_whole(
    tmp_path: Path, on: Path
) -> None:
    config = Config(out=tmp_path / "x")
    (tmp_path / "local.yaml").write_text("kind: local\n")

    _, left, options = elsewhere.with_jobs_there("study", config, on, ())
    assert (left, type(options["queue"])) == (None, slurm.Slurm)
    whole = elsewhere.with_jobs_there("study", config, tmp_path / "local.yaml", ())
    assert whole == (config, tmp_path / "local.yaml", {})
    with pytest.raises(ConfigError, match="this command itself stays here"):
        elsewhere.with_jobs_there("study", config, on, ["7"])
