"""A run that is watched: its checkpoints are evaluated as they come, and the watch ends with the run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from pipeline.config import dump, validate
from pipeline.errors import ConfigError, FormatError
from pipeline.evaluate import stage, watch
from pipeline.evaluate.stage import Config
from pipeline.evaluate.watch import published
from pipeline.formats.results import Results
from tests.pipeline.evaluate.conftest import add_checkpoint
from tests.pipeline.trainer.groups import run_ranks

TASKS = [{"kind": "held_out", "tokens": 2000}]


def config(run, dataset, **values):
    given = {"watch": str(run), "data": str(dataset), "suite": "all", "tasks": TASKS, "device": "cpu"}
    return validate(Config, {**given, **values}, "test")


def evaluate(asked):
    return stage.run(asked, stage.plan(asked))


def steps_with_results(run):
    return sorted(path.parent.name for path in run.glob("results/*/all.json"))


@pytest.fixture(autouse=True)
def _often(monkeypatch):
    monkeypatch.setattr(watch, "POLL_SECONDS", 0.02)


def test_every_checkpoint_of_a_finished_run_is_evaluated_in_order(run, dataset, network):
    add_checkpoint(run, 10, network, dataset, complete=True)

    told = evaluate(config(run, dataset))

    assert steps_with_results(run) == ["step-00000005", "step-00000010"]
    assert told.index("step-00000005") < told.index("step-00000010")
    of_one = Results.read(run / "results" / "step-00000005" / "all.json")
    assert of_one.checkpoint.endswith("step-00000005")


def test_checkpoints_are_evaluated_as_they_are_published_until_the_last(run, dataset, network):
    seen = []

    def train():
        for step in (10, 15):
            wait_for(lambda step=step: f"step-{step - 5:08d}" in steps_with_results(run))
            seen.append(steps_with_results(run))
            add_checkpoint(run, step, network, dataset, complete=step == 15)

    training = threading.Thread(target=train)
    training.start()
    evaluate(config(run, dataset))
    training.join()

    assert seen == [["step-00000005"], ["step-00000005", "step-00000010"]]
    assert steps_with_results(run) == ["step-00000005", "step-00000010", "step-00000015"]


def test_a_watch_may_begin_before_the_run(tmp_path, dataset, network):
    run = tmp_path / "later"
    training = threading.Timer(0.3, lambda: add_checkpoint(run, 5, network, dataset, complete=True))
    training.start()

    evaluate(config(run, dataset))

    assert steps_with_results(run) == ["step-00000005"]


def test_a_killed_watch_goes_on_and_what_was_evaluated_stays(run, dataset, network, tmp_path):
    file = tmp_path / "watch.yaml"
    file.write_text(dump(config(run, dataset)))
    command = [sys.executable, "-m", "pipeline", "evaluate", str(file)]
    watching = subprocess.Popen(command, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    try:
        wait_for(lambda: steps_with_results(run) == ["step-00000005"], seconds=60)
    finally:
        watching.send_signal(signal.SIGKILL)
        watching.wait()
    first = run / "results" / "step-00000005" / "all.json"
    before = first.stat().st_mtime_ns
    add_checkpoint(run, 10, network, dataset, complete=True)

    evaluate(config(run, dataset))

    assert steps_with_results(run) == ["step-00000005", "step-00000010"]
    assert first.stat().st_mtime_ns == before


def test_a_damaged_checkpoint_is_named_and_the_others_are_evaluated(run, dataset, network, caplog):
    path = run / "checkpoints" / "step-00000005" / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    add_checkpoint(run, 10, network, dataset, complete=True)

    evaluate(config(run, dataset))

    assert steps_with_results(run) == ["step-00000010"]
    assert "step-00000005: damaged" in caplog.text and "model.safetensors" in caplog.text


def test_a_checkpoint_that_training_removes_meanwhile_is_left_out(run, dataset, network, caplog):
    checkpoint = add_checkpoint(run, 10, network, dataset)
    add_checkpoint(run, 15, network, dataset, complete=True)
    found = []

    def removed_while_it_is_read(path):
        found.append(path.name)
        if path == checkpoint:
            shutil.rmtree(path)
            raise FormatError(f"{path / 'model'}: no such file")
        return ""

    watch.evaluated(run, 3600.0, removed_while_it_is_read)

    assert found == ["step-00000005", "step-00000010", "step-00000015"]
    assert "step-00000010: removed before it was evaluated" in caplog.text


def test_a_fault_of_the_data_ends_the_watch(run, dataset, tmp_path):
    data = shutil.copytree(dataset, tmp_path / "data")
    shard = data / "shards" / "validation-00000.ds"
    shard.write_bytes(shard.read_bytes()[:-2])

    with pytest.raises(FormatError, match=r"validation-00000\.ds"):
        evaluate(config(run, data))


def test_a_step_that_was_gone_back_to_is_looked_at_again(run, dataset, network):
    looks = published(run, 3600.0)
    assert next(looks).name == "step-00000005"
    shutil.rmtree(run / "checkpoints" / "step-00000005")
    assert next(looks) is None
    time.sleep(0.01)
    add_checkpoint(run, 5, network, dataset)

    assert next(looks).name == "step-00000005"
    assert next(looks) is None


def test_a_run_that_its_user_stopped_has_ended(run):
    looks = published(run, 3600.0)
    assert next(looks) is not None and next(looks) is None
    (run / "exit.json").write_text(json.dumps({"reason": "stopped", "exit_code": 75, "because": "stop file"}))

    assert list(looks) == []


def test_a_run_that_a_signal_stopped_may_start_again_until_it_was_silent_for_long(run, caplog):
    caplog.set_level("INFO", "loglinear")
    (run / "exit.json").write_text(json.dumps({"reason": "stopped", "exit_code": 75, "because": "SIGTERM"}))
    looks = published(run, 3600.0)
    assert next(looks) is not None and next(looks) is None
    an_hour_ago = time.time() - 3601
    os.utime(run / "checkpoints", (an_hour_ago, an_hour_ago))

    assert list(looks) == []
    assert "not finished, but nothing was written for 60 minutes" in caplog.text


def test_results_of_several_checkpoints_do_not_share_a_directory(run, dataset, network, tmp_path):
    add_checkpoint(run, 10, network, dataset, complete=True)

    evaluate(config(run, dataset, out=str(tmp_path / "out")))

    found = sorted(str(path.relative_to(tmp_path / "out")) for path in tmp_path.glob("out/*/all.json"))
    assert found == ["step-00000005/all.json", "step-00000010/all.json"]


def wait_for(holds, seconds=30):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


@pytest.mark.slow
def test_two_processes_watch_together(run, dataset, network, tmp_path):
    add_checkpoint(run, 10, network, dataset, complete=True)
    file = tmp_path / "watch.yaml"
    file.write_text(dump(config(run, dataset)))

    run_ranks("pipeline", ["evaluate", str(file)], 2)

    assert steps_with_results(run) == ["step-00000005", "step-00000010"]


@pytest.mark.parametrize(
    ("values", "message"),
    [({"watch": None}, "give one, or a run with watch"), ({"tasks": []}, "some of lm-eval's with harness")],
)
def test_a_configuration_asks_for_something_of_something(values, message, run, dataset):
    with pytest.raises(ConfigError, match=message):
        config(run, dataset, **values)


def test_the_plan_of_a_watch_names_the_run(run, dataset):
    asked = config(run, dataset)

    assert f"those of {run}" in stage.describe(asked, stage.plan(asked))
