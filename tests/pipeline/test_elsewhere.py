import socket
from pathlib import Path

import pytest

from pipeline import elsewhere
from pipeline.config import Schema, execution, kind_name
from pipeline.data.execute import ExecuteConfig
from pipeline.errors import ConfigError, StageError


class Config(Schema):
    out: Path = execution()


def launcher(folder: Path, text: str = "kind: local\nthreads: 1\n") -> Path:
    path = folder / "launch.yaml"
    path.write_text(text)
    return path


def test_the_job_runs_the_resolved_configuration_with_its_options(tmp_path: Path) -> None:
    config = Config(out=tmp_path / "x")

    script = elsewhere.send("data", config, {"until": "dedup"}, launcher(tmp_path), dry_run=True)

    assert (
        f"-m pipeline data {tmp_path}/x/logs/data.yaml --until dedup >> {tmp_path}/x/logs/data.log" in script
    )
    assert not (tmp_path / "x").exists()


def test_a_failed_job_is_told_once_with_its_log_and_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config(out=tmp_path / "x")

    with pytest.raises(StageError, match=r"exit code 2; its output is in .*x/logs/train\.log") as failed:
        elsewhere.send("train", config, {}, launcher(tmp_path), dry_run=False)

    assert failed.value.exit_code == 2
    assert "train.yaml" in str(failed.value)
    assert "train.yaml" not in capsys.readouterr().err
    assert "train.yaml" in (tmp_path / "x" / "logs" / "train.log").read_text()


def test_faults_of_a_hostfile_are_told_with_their_lines(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("a slots=2\nb\na slots=1\n")

    with pytest.raises(ConfigError) as told:
        elsewhere.launcher_from(launcher(tmp_path, f"kind: deepspeed\nhostfile: {tmp_path}/hosts\n"))

    assert [line.split(": ")[0] for line in told.value.problems] == [
        f"{tmp_path}/hosts:2",
        f"{tmp_path}/hosts:3",
    ]


def test_a_stage_of_one_process_is_not_started_several_times(tmp_path: Path) -> None:
    file = launcher(tmp_path, "kind: torchrun\nprocesses: 2\n")

    with pytest.raises(ConfigError, match="starts 2 processes, and data is one; use kind: local"):
        elsewhere.send("data", Config(out=tmp_path), {}, file, dry_run=True)


def test_each_of_several_nodes_writes_files_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE_RANK", "1")
    file = launcher(tmp_path, "kind: torchrun\nnodes: 2\nendpoint: a:29400\n")

    script = elsewhere.send("train", Config(out=tmp_path / "x"), {}, file, dry_run=True)

    node = f"{socket.gethostname()}-1"
    assert f"logs/train.{node}.yaml >> {tmp_path}/x/logs/train.{node}.log" in script


def test_a_wrong_launcher_is_told_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"launch\.yaml:2: launcher\.thread: unknown key"):
        elsewhere.launcher_from(launcher(tmp_path, "kind: local\nthread: 1\n"))


class Dataset(Config):
    execute: ExecuteConfig = execution(ExecuteConfig(workers=1))


def test_a_file_with_an_executor_says_where_the_tasks_of_a_dataset_run(tmp_path: Path) -> None:
    file = launcher(tmp_path, "executor: {kind: slurm, partition: cpu}\nworkers: 7\n")

    config, on = elsewhere.with_tasks_there(Dataset(out=tmp_path), file)

    assert on is None
    assert (kind_name(config.execute.executor), config.execute.executor.partition) == ("slurm", "cpu")
    assert (config.out, config.execute.workers) == (tmp_path, 7)


def test_any_other_file_sends_the_whole_command(tmp_path: Path) -> None:
    config = Dataset(out=tmp_path)

    assert elsewhere.with_tasks_there(config, launcher(tmp_path)) == (config, tmp_path / "launch.yaml")


def test_a_wrong_executor_is_told_with_its_place(tmp_path: Path) -> None:
    file = launcher(tmp_path, "executor:\n  kind: slurm\n  partitio: cpu\n")

    with pytest.raises(
        ConfigError, match=r"launch\.yaml:3: executor\.partitio: unknown key \(did you mean partition"
    ):
        elsewhere.with_tasks_there(Dataset(out=tmp_path), file)
