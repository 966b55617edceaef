"""Which passages are cut, and what is asked and counted."""

import dataclasses
import re

import pytest

from pipeline.evaluate.task import Reply
from pipeline.evaluate.tasks.last_word import Config


@pytest.fixture
def task(setting):
    return Config(split="test", words=20, per_document=3).build(setting)


def test_passages_are_pieces_of_documents_with_a_fit_last_word(task, setting):
    documents = list(setting.documents("test"))
    passages = [example.content for example in task.examples()]

    assert len(passages) > 20
    for passage in passages:
        whole = f"{passage.text} {passage.word}"
        assert whole in documents[passage.document]
        assert len(whole.split()) >= 20 and len(passage.word) >= 5 and passage.word.isalpha()
        assert passage.seen == (passage.word in re.findall(r"\w+", passage.text))
    assert {passage.seen for passage in passages} == {True, False}


def test_passages_of_a_document_do_not_overlap_and_are_few(task, setting):
    documents = list(setting.documents("test"))
    ends: dict[int, list[int]] = {}
    for example in task.examples():
        passage = example.content
        before = ends.setdefault(passage.document, [])
        start = documents[passage.document].index(
            f"{passage.text} {passage.word}", before[-1] if before else 0
        )
        before.append(start + len(passage.text) + 1 + len(passage.word))

    assert max(map(len, ends.values())) == 3


def test_the_ids_asked_are_the_ids_of_the_whole(task, setting):
    for example in task.examples():
        passage = example.content
        (request,) = task.requests(example)
        whole = [setting.tokenizer.eot_id, *setting.tokenizer.encode(f"{passage.text} {passage.word}")]

        assert [*request.context, *request.target] == whole[-(len(request.context) + len(request.target)) :]
        assert len(request.context) + len(request.target) - 1 <= 64 and request.greedy


def test_hits_and_nats_are_counted_in_all_and_by_whether_the_word_was_seen(task):
    examples = task.examples()
    records = [
        task.score(example, [Reply(nats=(1.0, 1.0), greedy=example.content.seen)]) for example in examples
    ]
    found = {metric.name: metric.estimate for metric in task.metrics(records)}

    seen = sum(example.content.seen for example in examples)
    assert found["accuracy"].value == pytest.approx(seen / len(examples)) and found["accuracy"].stderr > 0
    assert found["accuracy_word_seen"].value == 1 and found["accuracy_word_unseen"].value == 0
    assert found["accuracy_word_seen"].num_examples == seen
    assert found["perplexity"].value == pytest.approx(2.718281828**2)


def test_the_limit_holds(setting):
    limited = dataclasses.replace(setting, limit=4)

    assert len(Config(split="test", words=20).build(limited).examples()) == 4
    assert len(Config(split="test", words=20, passages=7).build(setting).examples()) == 7


def test_it_is_named_as_what_it_is(task):
    assert "not LAMBADA" in task.protocol
