from pathlib import Path

import pytest

from pipeline import elsewhere
from pipeline.config import Schema, execution
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


def test_a_failed_job_is_told_with_its_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = Config(out=tmp_path / "x")

    with pytest.raises(StageError, match=r"exit code 2; its output is in .*x/logs/train\.log"):
        elsewhere.send("train", config, {}, launcher(tmp_path), dry_run=False)

    assert "train.yaml" in capsys.readouterr().err


def test_a_wrong_launcher_is_told_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"launch\.yaml:2: launcher\.thread: unknown key"):
        elsewhere.launcher_from(launcher(tmp_path, "kind: local\nthread: 1\n"))
