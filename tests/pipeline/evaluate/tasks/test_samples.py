"""Which texts are asked for, and what is told of them."""

import pytest

from pipeline.errors import ConfigError
from pipeline.evaluate.task import Reply
from pipeline.evaluate.tasks.samples import Config


def test_samples_begin_from_nothing_and_from_documents(setting):
    task = Config(unconditional=2, conditional=2, split="test", prompt_tokens=5, max_new_tokens=9).build(
        setting
    )
    asked = [request for example in task.examples() for request in task.requests(example)]
    first = setting.tokenizer.encode(next(setting.documents("test")))[:5]

    eot_id = setting.tokenizer.eot_id
    assert [request.prompt for request in asked[:3]] == [(eot_id,), (eot_id,), (eot_id, *first)]
    assert len({request.seed for request in asked}) == 4
    assert all(request.max_new_tokens == 9 and request.stop_ids == (eot_id,) for request in asked)


def test_repetition_is_the_share_of_grams_that_were_there_before(setting):
    task = Config(split="test", max_new_tokens=20, prompt_tokens=5).build(setting)
    example = task.examples()[0]

    looping = task.score(example, [Reply(ids=(1, 2, 3, 4) * 3)])
    short = task.score(example, [Reply(ids=(1, 2))])

    assert looping["repetition"] == pytest.approx(1 - 4 / 9) and looping["ended"]
    assert short["repetition"] is None
    (metric,) = task.metrics([looping, looping, short])
    assert (metric.name, metric.estimate.value) == ("repetition_4", pytest.approx(5 / 9))
    assert task.metrics([short]) == []


def test_samples_that_do_not_fit_the_context_are_refused(setting):
    with pytest.raises(ConfigError, match="need a context of 129; n_ctx is 64"):
        Config().build(setting)
