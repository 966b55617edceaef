"""What is asked of held-out documents, and that a uniform model costs exactly what it must."""

import math

import pytest

from pipeline.errors import ConfigError
from pipeline.evaluate.task import Reply
from pipeline.evaluate.tasks.held_out import Config


def uniform(request):
    return Reply(nats=(math.log(400),) * len(request.target))


def figures(task, answer=uniform):
    records = [
        task.score(example, [answer(r) for r in task.requests(example)]) for example in task.examples()
    ]
    return {metric.name: metric.estimate for metric in task.metrics(records)}


@pytest.mark.parametrize("stride", [None, 1, 7, 64])
def test_every_token_is_scored_once_with_as_much_context_as_fits(stride, setting):
    task = Config(split="test", stride=stride).build(setting)

    for example in task.examples():
        ids, _ = example.content
        stream = [setting.tokenizer.eot_id, *ids, setting.tokenizer.eot_id]
        place = 1
        for request in task.requests(example):
            assert list(request.target) == stream[place : place + len(request.target)]
            before = len(request.context)
            assert list(request.context) == stream[place - before : place]
            assert before == place or before + len(request.target) - 1 == 64
            assert len(request.target) <= (stride or 64)
            place += len(request.target)
        assert place == len(stream)


def test_a_uniform_model_costs_the_logarithm_of_the_vocabulary(setting):
    task = Config(split="test").build(setting)
    manifest = setting.manifest
    found = figures(task)

    assert found["loss"].value == pytest.approx(math.log(400)) and found["loss"].stderr < 1e-9
    assert found["perplexity"].value == pytest.approx(400)
    bits = manifest.tokens("test") * math.log2(400) / manifest.text_bytes["test"]
    assert found["bits_per_byte"].value == pytest.approx(bits)
    assert found["loss"].num_examples == manifest.splits["test"][0].documents


def test_a_model_that_knows_the_text_loses_nothing(setting):
    found = figures(
        Config(split="test").build(setting), lambda request: Reply(nats=(0.0,) * len(request.target))
    )

    assert (found["loss"].value, found["perplexity"].value, found["bits_per_byte"].value) == (0, 1, 0)


def test_a_budget_of_tokens_takes_whole_documents(setting):
    task = Config(split="test", tokens=500).build(setting)
    taken = sum(len(example.content[0]) + 1 for example in task.examples())

    assert 300 < taken <= 500
    assert len(Config(split="test", tokens=1).build(setting).examples()) == 1


def test_a_stride_beyond_the_context_is_refused(setting):
    with pytest.raises(ConfigError, match=r"stride 65 is more than n_ctx \(64\)"):
        Config(stride=65).build(setting)
