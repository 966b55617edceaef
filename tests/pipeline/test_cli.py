import errno
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline import cli
from pipeline.errors import ConfigError, FormatError, StageError, Stopped

ROOT = Path(__file__).parents[2]
VERBS = [
    command.name or command.callback.__name__ for command in cli.app.registered_commands if command.callback
]


def ended(monkeypatch: pytest.MonkeyPatch, failure: BaseException) -> int:
    def fail(**_: object) -> None:
        raise failure

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (ConfigError(["a.yaml:1: x: unknown key", "a.yaml:2: y: missing"]), 2),
        (FormatError("train-00000.ds: 3 bytes"), 2),
        (StageError("fetch failed"), 1),
        (Stopped("runs/x: stopped"), 75),
        (OSError(errno.ENOSPC, "No space left on device", "shards/x"), 1),
        (KeyboardInterrupt(), 1),
    ],
)
def test_a_known_failure_ends_with_its_message_and_code_and_no_traceback(
    failure: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(monkeypatch, failure) == code
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.strip()
    if isinstance(failure, ConfigError):
        assert said.splitlines() == list(failure.problems)


def test_a_fault_of_ours_shows_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(OSError, match="broken disk"):
        cli.main()


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_every_verb_has_an_example(verb: str) -> None:
    done = CliRunner().invoke(cli.app, [verb, "--help"])

    assert done.exit_code == 0
    assert f"Example: loglinear {verb}" in done.output


def test_the_contract_of_verbs_is_kept() -> None:
    stages = "data train evaluate finetune study"
    others = "quickstart fit plan sample export report show status stop ls doctor"

    assert sorted(VERBS) == sorted([*stages.split(), *others.split()])


def test_a_dry_run_shows_configuration_plan_and_job_and_touches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    words = ["train", "configs/train/gpt2-117m.yaml", "out=runs/x", "--on", "configs/launch/torchrun.yaml"]

    done = CliRunner().invoke(cli.app, [*words, "--dry-run"], catch_exceptions=False)

    assert done.exit_code == 0
    assert "n_embd: 768" in done.output
    assert "124,439,808" in done.output
    assert "-m torch.distributed.run --nnodes=1 --nproc-per-node=2" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["configs"]


def test_an_unknown_stage_to_show_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"did you mean train\?"):
        CliRunner().invoke(cli.app, ["show", "trian", "x.yaml"], catch_exceptions=False)
