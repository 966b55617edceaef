"""Train and test perplexity of a dataset, side by side."""

import dataclasses
import math

import pytest

from pipeline.evaluate.task import Reply
from pipeline.evaluate.tasks.webtext import Config
from pipeline.formats.source import MissingSet


def figures(task, cost):
    records = []
    for example in task.examples():
        asked = task.requests(example)
        nats = cost[example.content.split]
        records.append(task.score(example, [Reply(nats=(nats,) * len(r.target)) for r in asked]))
    return {metric.name: metric.estimate for metric in task.metrics(records)}


def test_each_split_has_figures_of_its_own(setting):
    found = figures(Config().build(setting), {"train": 1.0, "test": 2.0})
    manifest = setting.manifest

    assert found["perplexity_train"].value == pytest.approx(math.e)
    assert found["perplexity_test"].value == pytest.approx(math.e**2)
    bits = 2 * manifest.tokens("test") / math.log(2) / manifest.text_bytes["test"]
    assert found["bits_per_byte_test"].value == pytest.approx(bits)
    assert found["perplexity_train"].num_examples == 60 and found["perplexity_train"].stderr < 1e-9


def test_every_token_and_the_end_is_scored_once(setting):
    for stride in (None, 7):
        task = Config(splits=["validation"], stride=stride).build(setting)
        for example in task.examples():
            asked = [id for request in task.requests(example) for id in request.target]
            assert asked == [*setting.tokenizer.encode(example.content.text), setting.tokenizer.eot_id]


def test_a_budget_takes_whole_documents_of_each_split(setting):
    examples = Config(tokens=500).build(setting).examples()
    for split in ("train", "test"):
        tokens = [len(example.content.ids) + 1 for example in examples if example.content.split == split]
        assert 0 < sum(tokens) <= 500

    assert len(Config(tokens=1).build(setting).examples()) == 2
    assert len(Config().build(dataclasses.replace(setting, limit=3)).examples()) == 6


def test_without_a_dataset_it_is_missing(setting):
    with pytest.raises(MissingSet, match="corpus=DIR"):
        Config().build(dataclasses.replace(setting, corpus=None))
