"""What the benchmark of infilling shows to each network, and what it makes of the answers."""

from dataclasses import replace

import torch

from benchmarks.infilling import Pair, measure, repeated, unlike
from model import tokenizer as tokenizers
from model.weights import load_network
from tests.pipeline.finetune.learnable import pretrained
from tests.pipeline.train.conftest import dataset  # noqa: F401 - a fixture


def networks(tmp_path, folder) -> Pair:
    shared = tokenizers.load(folder)
    left = pretrained(tmp_path / "left", shared, n_ctx=24)
    both = pretrained(tmp_path / "both", shared, n_ctx=24, causal=False, extra=4)
    return Pair(load_network(left), load_network(both), shared)


def test_what_is_masked_and_what_lies_behind_is_not_seen(tmp_path, dataset):  # noqa: F811
    pair, text = networks(tmp_path, dataset), list(range(10, 30))
    other = [*text[:7], 99, *text[8:]]

    torch.testing.assert_close(pair.from_both(text, [7]), pair.from_both(other, [7]))
    assert not torch.equal(pair.from_both(text, [3]), pair.from_both(other, [3])), "the right side is seen"
    torch.testing.assert_close(pair.from_left(text, [7]), pair.from_left(other, [7]))
    torch.testing.assert_close(pair.from_left(text, [3]), pair.from_left(other, [3]))


def test_both_are_asked_at_the_same_places_and_both_write(tmp_path, dataset):  # noqa: F811
    found = measure(networks(tmp_path, dataset), dataset, windows=3, seed=0)

    places = [figure["places"] for figure in found["accuracy"].values()]
    assert places[0] == places[1] >= places[2] == places[3] > 0
    assert all(0 <= figure["value"] <= 1 and figure["nats"] > 0 for figure in found["accuracy"].values())
    assert set(found["written"]) == {"left to right", "bidirectional"}


def test_networks_that_cannot_be_asked_the_same_are_refused(tmp_path, dataset):  # noqa: F811
    pair = networks(tmp_path, dataset)

    assert unlike(pair) == ""
    assert "must read from left to right" in unlike(replace(pair, left=pair.both, both=pair.left))
    assert "and 4 more" in unlike(replace(pair, both=load_network(other(tmp_path, dataset))))


def other(tmp_path, folder):
    return pretrained(tmp_path / "other", tokenizers.load(folder), n_ctx=24, causal=False, extra=5)


def test_what_goes_in_circles_repeats_its_pairs():
    assert repeated([1, 2, 3, 4]) == 0
    assert repeated([1, 1, 1, 1, 1]) == 0.75
    assert repeated([1, 2, 1, 2, 1]) == 0.5
