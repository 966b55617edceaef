from __future__ import annotations

import numpy as np
import pytest

from pipeline.config import validate
from pipeline.formats.manifest import Manifest
from pipeline.formats.run import Run
from pipeline.train import stage
from pipeline.train.batches import Batches, as_batch, text_form
from pipeline.train.sampler import Order, Windows
from pipeline.train.stage import Config
from pipeline.trainer.steps import steps


def test_documents_are_numbered_and_an_end_of_text_opens_the_next():
    windows = np.array([[5, 6, 0, 7, 8, 0, 0, 9, 1], [0, 5, 6, 7, 8, 9, 5, 6, 7]])
    documents = as_batch(windows, 3, eot_id=0).documents

    assert documents.tolist()[:2] == [[0, 0, 1, 1, 1, 2, 3, 3], [1] * 8]
    assert documents.shape == (3, 8)
    assert as_batch(windows, 2).documents is None


def test_masking_at_document_borders_changes_the_run_and_its_identity(values, tmp_path):
    losses, hashes = [], []
    for masked in (False, True):
        changes = {"out": str(tmp_path / str(masked)), "document_masking": masked, "train_tokens": 128}
        config = validate(Config, {**values, **changes}, "test")
        plan = stage.plan(config)
        stage.run(config, plan)
        losses.append([row["validation_loss"] for row in Run(config.out).rows() if "validation_loss" in row])
        hashes.append(plan.config_hash)

    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.2)
    assert hashes[0] != hashes[1]


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
def test_all_processes_together_take_the_windows_of_the_stream(dataset, values, world_size, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", str(world_size))
    config = validate(Config, {**values, "global_batch_tokens": 13 * 16, "train_tokens": 1300}, "test")
    plan, manifest = stage.plan(config), Manifest.read(dataset)
    windows = Windows(dataset, manifest, "train", 16)
    order = Order(windows.count, manifest.hash, 16, 0)
    taken = []
    for rank in range(world_size):
        found = Batches(windows, order, plan, rank, text_form(), pinned=False)
        found.skipped = ((10, 20),)
        batches = found.step(2)
        assert len(batches) == plan.micro_batches
        rows = [(i, t) for b in batches for i, t in zip(b.inputs.tolist(), b.targets.tolist(), strict=True)]
        taken += [inputs for inputs, targets in rows if targets[0] != -100]
    expected = windows.read(order.at(np.arange(2 * 13 + 10, 3 * 13 + 10)))[:, :-1].tolist()

    assert sorted(taken) == sorted(expected)


def test_batches_prepared_ahead_come_in_the_same_order_and_their_faults_where_they_are_due():
    class Notes:
        def train_step(self, micro_batches, lr, limit):
            seen.append((micro_batches, limit))

    def batches(index):
        if index == 5:
            raise OSError("unreadable")
        return [index]

    for ahead in (False, True):
        seen = []
        taken = steps(
            Notes(), batches, float, start=1, until=9, tokens_per_step=2, limit=lambda: 3.0, ahead=ahead
        )
        with pytest.raises(OSError, match="unreadable"):
            list(taken)
        assert seen == [([1], 3.0), ([2], 3.0), ([3], 3.0), ([4], 3.0)]
