from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import pytest

from pipeline.errors import FormatError, StageError
from pipeline.formats.checkpoint import Meta
from pipeline.formats.run import Run, writing


def publish(writer, step: int, complete: bool = False) -> None:
    meta = Meta(
        step=step, tokens=step, complete=complete, engine="e", world_size=1, epoch=writer.epoch,
        config_hash="", data_hash="",
    )  # fmt: skip
    with writer.publishing_checkpoint(meta) as draft:
        (draft / "model").mkdir()
        (draft / "model" / "weights").write_text(str(step))


def test_an_empty_place_is_a_run_that_has_not_begun(tmp_path):
    run = Run(tmp_path / "none")

    assert (run.rows(), run.checkpoints(), run.attempts(), run.finished) == ([], [], [], False)
    assert not run.stop_requested()
    with pytest.raises(StageError, match="no run is here"):
        run.request_stop()


def test_a_number_that_is_not_finite_is_null_and_an_event(tmp_path):
    with writing(tmp_path) as writer:
        writer.append({"step": 1, "loss": 2.5})
        writer.append({"step": 2, "loss": math.nan, "grad_norm": math.inf})

    assert Run(tmp_path).rows() == [
        {"step": 1, "loss": 2.5},
        {"step": 2, "loss": None, "grad_norm": None},
        {"step": 2, "event": "non-finite", "values": {"loss": "nan", "grad_norm": "inf"}},
    ]


def test_rows_beyond_the_checkpoint_move_to_the_attempt_that_wrote_them(tmp_path):
    with writing(tmp_path) as writer:
        writer.begin_attempt({})
        for step in range(1, 6):
            writer.append({"step": step, "loss": 1.0})
    with writing(tmp_path) as writer:
        writer.rewind(3)
        writer.append({"step": 4, "loss": 2.0})

    assert [(row["step"], row["loss"]) for row in Run(tmp_path).rows()] == [(1, 1), (2, 1), (3, 1), (4, 2)]
    moved = (tmp_path / "metrics.attempt-000.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in moved] == [4, 5]


def test_rows_moved_by_a_rollback_and_by_a_restart_all_stay(tmp_path):
    with writing(tmp_path) as writer:
        writer.begin_attempt({})
        for step in range(1, 6):
            writer.append({"step": step, "loss": 1.0})
        writer.rewind(3, rollbacks=1, attempt=writer.attempt)
        writer.append({"step": 3, "event": "rollback", "rollbacks": 1})
        writer.append({"step": 4, "loss": 2.0})
    with writing(tmp_path) as writer:
        writer.rewind(3)

    assert [row["step"] for row in Run(tmp_path).rows()] == [1, 2, 3]
    assert [row.get("loss") for row in Run(tmp_path).rewound_rows()] == [1.0, 1.0, None, 2.0]


def test_going_back_to_a_good_checkpoint_removes_those_after_it(tmp_path):
    with writing(tmp_path) as writer:
        for step in (1, 2, 3, 4):
            publish(writer, step)
        found = writer.newest_good(lambda meta: meta.step < 3)
        assert found is not None and found[1].step == 2
        assert [path.name for path in writer.checkpoints()] == ["step-00000001", "step-00000002"]
        assert writer.newest_good(lambda _: False) is None


def test_a_line_torn_by_a_kill_is_left_out_and_one_in_the_middle_is_a_fault(tmp_path):
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert [row["step"] for row in Run(tmp_path).rows()] == [1, 2]
    with writing(tmp_path) as writer:
        writer.rewind(2)
        writer.append({"step": 3})
    assert [row["step"] for row in Run(tmp_path).rows()] == [1, 2, 3]

    metrics.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(FormatError, match=r"metrics.jsonl:2: not valid JSON"):
        Run(tmp_path).rows()


def test_one_process_writes_and_another_is_told_which(tmp_path):
    code = f"""
from pathlib import Path
from pipeline.errors import StageError
from pipeline.formats.run import writing
try:
    with writing(Path({str(tmp_path)!r})):
        print("written")
except StageError as refusal:
    print(refusal)
"""
    with writing(tmp_path) as writer:
        told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert f"process {os.getpid()} on " in told
        assert "(epoch 1) is writing this run; stop it first, or wait" in told
        assert writer.epoch == 1
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "written\n"


def test_a_writer_overtaken_by_a_later_epoch_publishes_nothing(tmp_path):
    with writing(tmp_path) as writer:
        publish(writer, 1)
        (tmp_path / "writer.json").write_text(json.dumps({"host": "other", "pid": 5, "epoch": 7}))
        with pytest.raises(StageError, match=r"process 5 on other \(epoch 7\) took this run over"):
            publish(writer, 2)

    assert [path.name for path in Run(tmp_path).checkpoints()] == ["step-00000001"]


def test_epochs_and_attempts_count_on(tmp_path):
    for number in range(3):
        with writing(tmp_path) as writer:
            assert (writer.epoch, writer.attempt) == (number + 1, number)
            writer.begin_attempt({"first_step": number})
            if number:
                writer.end_attempt("finished", step=number)
    ended = [attempt["ended"] and attempt["ended"]["reason"] for attempt in Run(tmp_path).attempts()]

    assert ended == [None, "finished", "finished"]


def test_a_run_is_finished_when_its_last_checkpoint_is_complete_and_there(tmp_path):
    run = Run(tmp_path)
    with writing(tmp_path) as writer:
        publish(writer, 1)
        assert not run.finished
        publish(writer, 2, complete=True)
    assert run.finished
    (run.checkpoints()[-1] / "model" / "weights").unlink()
    assert not run.finished


def test_a_stop_is_asked_for_by_a_file_and_an_old_one_does_not_count(tmp_path):
    run = Run(tmp_path)
    run.config.write_text("")
    run.request_stop()

    assert run.stop_requested()
    assert not run.stop_requested(since=(tmp_path / "stop").stat().st_mtime + 1)
    run.clear_stop()
    assert not run.stop_requested()


def test_a_new_writer_cleans_what_a_killed_one_left(tmp_path):
    with writing(tmp_path) as writer:
        publish(writer, 1)
    left = tmp_path / "checkpoints" / ".step-00000002.partial-999999-1-0"
    removed = tmp_path / "checkpoints" / ".discarded-step-00000000"
    for folder in (left, removed):
        folder.mkdir()
        (folder / "file").write_text("half")
    with writing(tmp_path):
        pass

    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]
