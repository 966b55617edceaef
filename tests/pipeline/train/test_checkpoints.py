"""Checkpoints that are written while training goes on: whole, together, or not at all."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from model.transformer import GPT
from model.weights import save_model
from pipeline.config import validate
from pipeline.errors import StageError
from pipeline.formats import checkpoint
from pipeline.formats.checkpoint import Meta, verify
from pipeline.formats.publish import blake3_of
from pipeline.formats.run import Run
from pipeline.train import objective, stage
from pipeline.train.stage import Config
from pipeline.trainer import state
from pipeline.trainer.engine import LEAST_PRIORITY, Pending
from tests.pipeline.formats.blocks import result_of
from tests.pipeline.train.faults import Killed, faulty
from tests.pipeline.trainer import tiny


def run(values: dict, **changes) -> Run:
    config = validate(Config, {**values, **changes}, "test")
    stage.run(config, stage.plan(config))
    return Run(config.out)


def curve(found: Run) -> list[tuple]:
    return [(row["step"], row["loss"], row["grad_norm"]) for row in found.rows() if "lr" in row]


@pytest.fixture
def slow(monkeypatch) -> threading.Event:
    """Writing the weights waits for an event, as on a slow disk."""
    go_on, write_model = threading.Event(), objective.write_model

    def waits(*arguments):
        go_on.wait(30)
        return write_model(*arguments)

    monkeypatch.setattr(objective, "write_model", waits)
    return go_on


def test_training_goes_on_while_a_checkpoint_is_written(values, slow, monkeypatch):
    found = Run(Path(values["out"]))
    seen = []

    class Watches(faulty([])):
        def sums(self, model, batch):
            seen.append((len(found.checkpoints()), len(curve(found))))
            if len(seen) == 2 * 4:
                slow.set()
            return super().sums(model, batch)

    monkeypatch.setattr("pipeline.train.objective.NextToken", Watches)
    run(values, validation={"every_steps": 0, "tokens": 64}, checkpoint={"every_steps": 2, "keep": 9})

    assert (0, 3) in seen, "the third step was taken while the checkpoint of the second was written"
    assert [Meta.read(path).step for path in found.checkpoints()] == [2, 4, 6]
    events = [row for row in found.rows() if row.get("event") == "checkpoint"]
    assert [event["step"] for event in events] == [2, 4, 6]
    assert events[0]["write_seconds"] > 0


def test_checkpoints_are_the_same_whether_training_waits_for_them_or_not(values, tmp_path):
    here = run(values)
    there = run(
        values, out=str(tmp_path / "waits"), checkpoint={"every_steps": 2, "keep": 5, "asynchronous": False}
    )

    assert curve(here) == curve(there)
    assert len(here.checkpoints()) == len(there.checkpoints()) == 3
    for one, other in zip(here.checkpoints(), there.checkpoints(), strict=True):
        assert verify(one).blake3 == verify(other).blake3


def test_what_is_saved_is_the_step_it_is_named_after_and_not_what_came_later(values, slow, monkeypatch):
    threading.Timer(1.0, slow.set).start()
    found = run(values, checkpoint={"every_steps": 4, "keep": 5})
    early = run(values, out=str(found.directory.with_name("early")), checkpoint={"every_steps": 2, "keep": 9})

    name = "state/tensors-00000-of-00001.safetensors"
    assert Meta.read(found.checkpoints()[0]).blake3[name] == Meta.read(early.checkpoints()[1]).blake3[name]


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(28, "No space left")])
def test_a_checkpoint_that_cannot_be_written_ends_the_run_and_is_named(values, monkeypatch, error):
    write_model, calls = objective.write_model, []

    def fails(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise error
        return write_model(*arguments)

    monkeypatch.setattr(objective, "write_model", fails)
    with pytest.raises(StageError, match=rf"step-00000004 .*rank 0: \w+: .*{error.strerror}") as failure:
        run(values)
    found = Run(Path(values["out"]))

    assert failure.value.exit_code == 1
    assert [path.name for path in found.checkpoint_folder.iterdir()] == ["step-00000002"]
    assert found.attempts()[0]["ended"]["reason"] == "failed"
    run(values)
    assert found.finished


def test_a_failure_while_a_checkpoint_is_written_leaves_nothing_of_it(values, slow, monkeypatch, tmp_path):
    class Fails(faulty([], kill_at_call=2 * 3 + 1)):
        def sums(self, model, batch):
            if type(self).__base__.calls == 2 * 3:
                threading.Timer(0.3, slow.set).start()
            return super().sums(model, batch)

    monkeypatch.setattr("pipeline.train.objective.NextToken", Fails)
    with pytest.raises(Killed):
        run(values)
    found = Run(Path(values["out"]))
    assert list(found.checkpoint_folder.iterdir()) == []

    monkeypatch.setattr("pipeline.train.objective.NextToken", faulty([]))
    assert curve(run(values)) == curve(run(values, out=str(tmp_path / "whole")))


def test_some_checkpoints_are_kept_for_ever(values):
    found = run(values, checkpoint={"every_steps": 1, "keep": 1, "keep_every_steps": 3})

    assert [Meta.read(path).step for path in found.checkpoints()] == [3, 6]
    # Step 6 is the newest; of the others every third stays.
    assert (
        run(
            values,
            out=str(found.directory.with_name("other")),
            checkpoint={"every_steps": 1, "keep": 2, "keep_every_steps": 2},
        )
        .checkpoints()[0]
        .name
        == "step-00000002"
    )


def test_a_full_disk_ends_the_run_and_leaves_the_checkpoint_before(values, small_disk):
    small = small_disk(600)
    keeping = {"every_steps": 1, "keep": 9}
    with pytest.raises(StageError, match=r"checkpoint step-\d+ could not be written .*No space left"):
        run(values, out=str(small / "run"), checkpoint=keeping)

    found = Run(small / "run")
    left = found.checkpoints()
    assert left and verify(left[-1]).step == len(left)
    assert len(list(found.checkpoint_folder.iterdir())) == len(left)


def test_staged_tensors_share_no_memory_with_the_originals():
    weight = torch.arange(6.0).reshape(2, 3)
    copies = state.staged({"turned": weight.t(), "count": torch.tensor(3)})
    weight.zero_()

    assert copies["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert copies["count"].item() == 3


TENSORS = {
    "b/weight": torch.randn(5, 3).t(),
    "a": torch.arange(7, dtype=torch.uint8),
    "step": torch.tensor(2.5),
    "empty": torch.empty(0, 4),
    "large": torch.randn(3 * state.PIECE_BYTES // 4, 3),
}


def test_a_shard_is_safetensors_of_which_the_sum_is_told(tmp_path):
    told = result_of(state.write_shard(tmp_path / "shard", state.Snapshot(TENSORS), TENSORS))
    found = load_file(tmp_path / "shard")

    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in TENSORS.items())
    assert told == blake3_of(tmp_path / "shard")


@pytest.mark.parametrize("blocks_before", [0, 1, 3])
def test_a_snapshot_of_live_tensors_is_of_when_it_was_taken(tmp_path, monkeypatch, blocks_before):
    monkeypatch.setattr(checkpoint, "BLOCK_BYTES", 2**20)
    live = {name: tensor.clone() for name, tensor in TENSORS.items()}
    snapshot = state.Snapshot()
    for name, tensor in live.items():
        snapshot.add(name, tensor, live=True)
    blocks = state.write_shard(tmp_path / "shard", snapshot, live)
    for _ in range(blocks_before):
        next(blocks)

    snapshot.freeze()
    for tensor in live.values():
        tensor.zero_()
    result_of(blocks)

    found = load_file(tmp_path / "shard")
    assert all(torch.equal(found[name], tensor) for name, tensor in TENSORS.items())


@pytest.mark.parametrize("architecture", ["gpt1", "gpt2"])
def test_a_model_is_written_from_a_snapshot_as_it_is_from_weights(tmp_path, architecture):
    shape = replace(tiny.SHAPE, architecture=architecture)
    weights = GPT(shape).state_dict()
    save_model(tmp_path / "expected", weights, shape)
    snapshot = state.Snapshot()
    for name, tensor in weights.items():
        snapshot.add(f"weight/{name}", tensor)

    sums = result_of(state.write_model(tmp_path / "found", snapshot, shape, None))

    assert sums == {path: blake3_of(path) for path in (tmp_path / "found").iterdir()}
    for path in (tmp_path / "expected").iterdir():
        assert (tmp_path / "found" / path.name).read_bytes() == path.read_bytes()


def test_who_waits_for_a_write_does_the_rest_of_it_himself():
    begun, first, workers = threading.Event(), threading.Event(), []

    def blocks():
        for _ in range(3):
            workers.append((threading.current_thread(), os.getpriority(os.PRIO_PROCESS, 0)))  # the thread's
            begun.set()
            first.wait(30)
            yield
        return {}

    pending = Pending(blocks())
    assert begun.wait(30)  # the thread is in no hurry
    threading.Timer(0.2, first.set).start()
    pending.wait()

    (thread, priority), *rest = workers
    assert thread is not threading.main_thread() and priority == LEAST_PRIORITY
    assert rest == [(threading.main_thread(), os.getpriority(os.PRIO_PROCESS, 0))] * 2
    assert not pending.running


def test_an_abandoned_write_is_left_where_it_is():
    begun, go_on, done = threading.Event(), threading.Event(), []

    def blocks():
        try:
            for number in range(100):
                done.append(number)
                begun.set()
                go_on.wait(30)
                yield
        finally:
            done.append("closed")

    pending = Pending(blocks())
    assert begun.wait(30)
    threading.Timer(0.2, go_on.set).start()
    pending.abandon()

    assert done == [0, "closed"]
