from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.formats.run import Run, writing
from pipeline.trainer.tracker import Tracked, numbers
from pipeline.trainer.trackers import jsonl, tensorboard, wandb

ROW = {"step": 3, "loss": 2.5, "mfu": None, "event": "resumed", "complete": True}


def tracked(folder: Path, append=print) -> Tracked:
    return Tracked(
        directory=folder,
        name="run",
        tracking_id="abc123def456",
        first_step=0,
        settings={"lr": 1},
        append=append,
    )


def test_jsonl_writes_every_row_as_it_is(tmp_path):
    with writing(tmp_path) as writer:
        tracker = jsonl.Config().build(tracked(tmp_path, writer.append))
        tracker.log(ROW)
        tracker.close(finished=True)

    assert Run(tmp_path).rows() == [ROW]


def test_charts_take_numbers_alone():
    assert numbers(ROW) == {"loss": 2.5}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # wandb's own, from its protobuf code
def test_wandb_without_a_key_writes_offline_under_one_run_id(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    assert not wandb.has_key()
    for finished in (False, True):
        tracker = wandb.Config().build(tracked(tmp_path))
        tracker.log(ROW)
        tracker.close(finished=finished)
    files = sorted((tmp_path / "wandb").glob("offline-run-*/run-abc123def456.wandb"))

    assert len(files) >= 1
    assert all(b"loss" in file.read_bytes() for file in files)


def test_a_key_is_found_in_the_environment_and_in_netrc(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    file = tmp_path / "netrc"
    monkeypatch.setenv("NETRC", str(file))
    file.write_text("machine api.wandb.ai login user password secret\n")
    file.chmod(0o600)
    assert wandb.has_key()
    file.write_text("machine example.org login user password secret\n")
    assert not wandb.has_key()
    monkeypatch.setenv("WANDB_API_KEY", "x")
    assert wandb.has_key()


def test_tensorboard_writes_scalars_at_their_steps(tmp_path):
    pytest.importorskip("tensorboard")
    tracker = tensorboard.Config().build(tracked(tmp_path))
    tracker.log(ROW)
    tracker.close(finished=True)
    (file,) = (tmp_path / "tensorboard").glob("events.*")

    assert b"loss" in file.read_bytes()
    assert json.dumps("mfu").encode() not in file.read_bytes()
