from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.formats.run import Run, writing
from pipeline.trainer.tracker import SAMPLE, Tracked, numbers
from pipeline.trainer.trackers import jsonl, tensorboard, wandb

ROW = {"step": 3, "loss": 2.5, "mfu": None, "complete": True}
WRITTEN = {
    "step": 3,
    "event": SAMPLE,
    "number": 1,
    "prompt": "It was",
    "text": " a dark\nand <h1> stormy night",
}


def tracked(folder: Path, append=print, first_step: int = 0, last_step: int = 0) -> Tracked:
    return Tracked(
        directory=folder,
        name="run",
        tracking_id="abc123def456",
        first_step=first_step,
        last_step=last_step,
        settings={"lr": 1},
        append=append,
    )


def log(kind, folder: Path, rows, finished: bool = True, **attempt) -> None:
    """Give rows to a tracker, as one attempt of a run does."""
    tracker = kind.Config().build(tracked(folder, **attempt))
    for row in rows:
        tracker.log(row)
    tracker.close(finished=finished)


@pytest.fixture
def offline(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


def wandb_records(folder: Path) -> list:
    """Return the records of all offline files in the order of their sessions, as `wandb sync` reads them.

    wandb writes the last ones, up to the exit's, after it has said that a session is over.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    records: list = []
    for file in sorted((folder / "wandb").glob("offline-run-*/run-abc123def456.wandb")):
        deadline, found = time.monotonic() + 30, [Record()]
        while not found[-1].HasField("exit") and time.monotonic() < deadline:
            time.sleep(0.02)
            found = [Record(), *(Record.FromString(raw) for raw in _log_records(file.read_bytes()))]
        records += found
    return records


def _log_records(raw: bytes) -> Iterator[bytes]:
    """Yield the records of LevelDB's log format, after wandb's header of 7 bytes."""
    place, whole = 7, b""
    while place + 7 <= len(raw):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        length, part = struct.unpack_from("<HB", raw, place + 4)
        whole += raw[place + 7 : place + 7 + length]
        place += 7 + length
        if part in (1, 4):  # a whole record, or the last part of one
            yield whole
            whole = b""


def history(folder: Path) -> list[tuple[int, dict[str, float]]]:
    """Return step and numbers of every row that wandb has."""
    rows = [record.history for record in wandb_records(folder) if record.HasField("history")]
    return [
        (
            row.step.num,
            {
                ".".join(item.nested_key): json.loads(item.value_json)
                for item in row.item
                if not item.nested_key[0].startswith("_")
            },
        )
        for row in rows
    ]


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    """Return the steps and values that TensorBoard shows for a name."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "tensorboard"), {"scalars": 0, "tensors": 0})
    found.Reload()
    return [(event.step, event.value) for event in found.Scalars(name)]


def test_jsonl_writes_every_row_as_it_is(tmp_path):
    with writing(tmp_path) as writer:
        log(jsonl, tmp_path, [ROW, WRITTEN], append=writer.append)

    assert Run(tmp_path).rows() == [ROW, WRITTEN]


def test_charts_take_numbers_alone_and_an_events_under_its_name():
    assert numbers(ROW) == {"loss": 2.5}
    assert numbers({"step": 3, "event": "checkpoint", "seconds": 2}) == {"checkpoint/seconds": 2}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # wandb's own, from its protobuf code
@pytest.mark.usefixtures("offline")
def test_wandb_without_a_key_writes_offline_under_one_run_id_and_no_step_twice(tmp_path):
    assert not wandb.has_key()
    first = [{"step": n, "loss": float(n)} for n in (1, 2, 3, 4, 5)]
    log(wandb, tmp_path, first, finished=False)
    # Killed after step 5; its newest checkpoint is of step 2. That of step 6 is written during step 7.
    again = [{"step": n, "loss": float(n)} for n in (3, 4, 5, 6, 7)]
    again[3:3] = [{"step": 5, "validation_loss": 3.5}]
    late = [{"step": 6, "event": "checkpoint", "seconds": 7.5}, {**WRITTEN, "step": 7}]
    log(wandb, tmp_path, [*again, *late], first_step=2, last_step=5)
    runs = {record.run.run_id for record in wandb_records(tmp_path) if record.HasField("run")}
    steps, rows = zip(*history(tmp_path), strict=True)

    assert runs == {"abc123def456"}
    assert steps == (1, 2, 3, 4, 5, 6, 7)
    assert [row["loss"] for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert rows[6]["checkpoint/seconds"] == 7.5
    assert rows[6]["sample/1._type"] == "html-file"
    (page,) = (tmp_path / "wandb").glob("offline-run-*/files/media/html/sample/*.html")
    assert "<b>It was</b> a dark\nand &lt;h1&gt; stormy night" in page.read_text()


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


def test_tensorboard_shows_scalars_at_their_steps_and_no_step_twice_after_a_restart(tmp_path):
    pytest.importorskip("tensorboard")
    log(tensorboard, tmp_path, [{"step": n, "loss": float(n)} for n in (1, 2, 3, 4, 5)], finished=False)
    log(tensorboard, tmp_path, [{"step": n, "loss": n + 0.5} for n in (3, 4)], first_step=2, last_step=5)

    assert scalars(tmp_path, "loss") == [(1, 1.0), (2, 2.0), (3, 3.5), (4, 4.5)]


def test_tensorboard_shows_samples_as_text(tmp_path):
    pytest.importorskip("tensorboard")
    log(tensorboard, tmp_path, [ROW, WRITTEN])
    (file,) = (tmp_path / "tensorboard").glob("events.*")
    content = file.read_bytes()

    assert b"sample/1" in content
    assert b"    It was a dark\n    and <h1> stormy night" in content
    assert b"mfu" not in content
