"""Inputs of BERT's pre-training: what is masked, what follows, and that the place alone decides."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from model.weights_headed import load_headed
from pipeline.config import validate
from pipeline.errors import ConfigError
from pipeline.formats.run import Run
from pipeline.train import stage
from pipeline.train.masking import Masking
from pipeline.train.stage import Config
from pipeline.trainer.headed import Examples

V, T = 1000, 103
START, DELIMITER, EXTRACT, MASK = V, V + 1, V + 2, V + 3


class Stream:
    """Windows of which each token tells the window and the place: 100 windows of T + 1."""

    count = 9

    def read(self, indices):
        return np.array([[100 * int(index) + place % 100 for place in range(T + 1)] for index in indices])


@pytest.fixture(scope="module")
def batch() -> Examples:
    numbers = np.arange(2000)
    return Masking(Stream(), V, seed=3).batch(Stream().read(numbers % 9), 2000, numbers)


def whole(batch):
    """Return the inputs as they were before tokens were masked."""
    ids, targets = batch.ids[:, 0].numpy(), batch.targets[:, 0].numpy()
    return np.where(targets >= 0, targets, ids)


def test_an_input_is_two_pieces_between_special_tokens(batch):
    ids = whole(batch)

    assert (ids[:, 0] == START).all()
    assert (ids[:, -1] == EXTRACT).all()
    assert (batch.places == T - 1).all()
    assert ((ids == DELIMITER).sum(1) == 1).all()
    assert (((ids >= V).sum(1)) == 3).all()
    shortest = min(np.where(ids == DELIMITER)[1]) - 1
    assert shortest == 25  # a quarter of the 100 tokens of text


def test_the_second_piece_follows_the_first_where_the_label_says_so(batch):
    ids, labels = whole(batch), batch.labels.numpy()
    windows = np.arange(2000) % 9
    second = ids[:, -2] // 100

    assert (second[labels == 1] == windows[labels == 1]).all()
    others = second[labels == 0] != windows[labels == 0]
    assert 0.8 < others.mean() < 0.96  # a window drawn from nine is another one in eight cases
    assert 0.46 < labels.mean() < 0.54
    places = ids % 100
    text = np.where(ids < V, places, -1)
    for row in text[:50]:
        assert list(row[row >= 0]) == list(range(100))  # no place of the text is lost or comes twice


def test_fifteen_percent_are_predicted_and_replaced_as_bert_has_it(batch):
    ids, targets = batch.ids[:, 0].numpy(), batch.targets[:, 0].numpy()
    asked = targets >= 0

    assert (asked.sum(1) == 15).all()
    assert not (asked & (whole(batch) >= V)).any()  # special tokens are never asked for
    masked, kept = ids[asked] == MASK, ids[asked] == targets[asked]
    assert masked.mean() == pytest.approx(0.8, abs=0.01)
    assert kept.mean() == pytest.approx(0.1, abs=0.01)
    replaced = ids[asked][~masked & ~kept]
    assert replaced.max() < V
    assert len(set(replaced.tolist())) > 800
    assert (ids[~asked] == whole(batch)[~asked]).all()


def test_a_window_gives_the_same_input_in_any_batch_and_another_one_at_its_next_visit(batch):
    again = Masking(Stream(), V, seed=3).batch(Stream().read([5, 5]), 3, np.array([5, 5 + 9]))

    assert (again.ids[0] == batch.ids[5]).all()
    assert (again.targets[1] == batch.targets[14]).all()
    assert not (again.ids[0] == again.ids[1]).all()
    assert (again.targets[2] == -100).all()
    assert again.labels.tolist()[2] == -100
    other = Masking(Stream(), V, seed=3, stream=1).batch(Stream().read([5]), 1, np.array([5]))
    assert not (other.ids[0] == batch.ids[5]).all()


def masked(values: dict, **more) -> Config:
    model = {**values["model"], "vocab_size": 304, "causal": False}
    return validate(Config, {**values, "objective": "masked", "model": model, **more}, "test")


def test_a_bidirectional_network_is_trained_resumed_and_saved_like_any_other(values, tmp_path):
    whole = masked(values, out=str(tmp_path / "whole"), train_tokens=30 * 64, checkpoint={"every_steps": 10})
    stage.run(whole, stage.plan(whole))
    again = masked(
        values, out=str(tmp_path / "again"), train_tokens=30 * 64, checkpoint={"every_steps": 10, "keep": 9}
    )
    stage.run(again, stage.plan(again))
    run = Run(again.out)
    shutil.rmtree(run.checkpoints()[-1])
    stage.run(again, stage.plan(again))

    losses = [row["validation_loss"] for row in run.rows() if "validation_loss" in row]
    model = run.checkpoints()[-1] / "model"
    network, told = load_headed(model)
    assert losses[-1] < losses[0]
    assert all(row["bits_per_byte"] is None for row in run.rows() if "validation_loss" in row)
    assert not network.body.config.causal
    assert network.body.config.vocab_size == 304
    assert told == {"reading": "text"}
    other = load_file(Run(whole.out).checkpoints()[-1] / "model" / "model.safetensors")
    assert all(
        torch.equal(tensor, other[name]) for name, tensor in load_file(model / "model.safetensors").items()
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"objective": "next_token"}, "a position sees what it is to predict"),
        ({"document_masking": True}, "document_masking: masked inputs are two pieces"),
        ({"samples": {"every_steps": 2}}, "cannot write from left to right"),
        ({"model": {"vocab_size": 300}}, "masking takes the 300 ids of .* and 4 more: 304"),
        ({"model": {"causal": True}}, "a position sees only what is before it"),
    ],
)
def test_what_does_not_go_with_masking_is_refused(values, wrong, message):
    model = {**values["model"], "vocab_size": 304, "causal": False, **wrong.pop("model", {})}

    with pytest.raises(ConfigError, match=message):
        stage.plan(validate(Config, {**values, "objective": "masked", "model": model, **wrong}, "test"))
