"""Table 6, Figure 5 and the examples to be left out, counted by hand beside the task."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from model import tokenizer as tokenizers
from pipeline.errors import ConfigError
from pipeline.evaluate.task import Generation, Reply, Setting
from pipeline.evaluate.tasks import last_word, overlap, webtext
from pipeline.formats.source import MissingSet


@pytest.fixture
def own_setting(dataset: Path, tmp_path: Path) -> Setting:
    folder = shutil.copytree(dataset, tmp_path / "corpus")
    return Setting(corpus=folder, tokenizer=tokenizers.load(folder), n_ctx=64)


def grams(text: str) -> list[tuple[str, ...]]:
    words = text.lower().replace(".", " ").split()
    return [tuple(words[start : start + 8]) for start in range(len(words) - 7)]


def records_of(task, written=()):
    """Return the records of a model that writes the same ids whatever it is asked."""
    return [
        task.score(example, [Reply(ids=written) for _ in task.requests(example)])
        for example in task.examples()
    ]


def figures(task, records) -> dict[str, float]:
    return {metric.name: metric.estimate.value for metric in task.metrics(records)}


def test_shares_are_those_of_a_plain_count(own_setting):
    task = overlap.Config(held_out="validation", documents=10, generations=0).build(own_setting)
    training = {gram for text in own_setting.documents("train") for gram in grams(text)}
    documents = list(own_setting.documents("validation"))[:10]
    counted = [(sum(gram in training for gram in grams(text)), len(grams(text))) for text in documents]
    expected = sum(hits for hits, _ in counted) / sum(number for _, number in counted)

    records = records_of(task)

    assert [(record["shared"], record["ngrams"]) for record in records] == counted
    assert figures(task, records)["shared_held_out_text"] == pytest.approx(expected)


def test_a_model_that_recites_its_training_text_shares_all_of_it(own_setting):
    recited = next(text for text in own_setting.documents("train") if len(grams(text)) > 20)
    ids = tuple(own_setting.tokenizer.encode(recited))
    task = overlap.Config(documents=5, generations=4, prompt_tokens=8).build(own_setting)

    records = records_of(task, ids)

    found = figures(task, records)
    assert found["shared_generations"] == found["shared_generations_median"] == 1
    assert found["shared_generations_none"] == 0
    assert records[0]["longest"] == " ".join(recited.replace(".", "").split())
    assert records[0]["text"] == recited
    assert len(own_setting.tokenizer.encode(records[0]["prompt"])) <= 8


def test_texts_go_on_from_documents_and_have_the_context_for_themselves(own_setting):
    task = overlap.Config(generations=3, documents=2, prompt_tokens=8).build(own_setting)
    requests = [request for example in task.examples() for request in task.requests(example)]

    assert len(requests) == 3
    assert all(isinstance(request, Generation) and request.top_k == 40 for request in requests)
    assert all(len(request.prompt) + request.max_new_tokens <= 64 for request in requests)
    assert len({request.seed for request in requests}) == 3
    assert "up to 55 tokens" in task.protocol


def test_examples_of_other_tasks_are_compared_and_those_that_share_are_left_out(own_setting):
    words = last_word.Config(split="validation", words=20).build(own_setting)
    leaked = last_word.Config(split="train", words=20).build(own_setting)
    leaked.name = "leaked"
    task = overlap.Config(generations=0, documents=0).build(own_setting)
    task.over([words, leaked])

    records = records_of(task)

    out = task.left_out(records)
    assert out["last_word"] == set()
    assert out["leaked"] == {example.number for example in leaked.examples()}
    assert figures(task, records) == {"shared_last_word": 0, "shared_leaked": 1}
    assert (
        overlap.Config(generations=0, documents=0, most_shared=1.0).build(own_setting).left_out(records) == {}
    )


def test_a_task_whose_text_is_the_training_text_is_not_compared_with_it(own_setting):
    task = overlap.Config(generations=0, documents=0).build(own_setting)

    task.over([webtext.Config().build(own_setting)])

    assert task.examples() == []
    assert "tasks compared: none" in task.protocol


def test_the_protocol_says_what_decides_the_figures(own_setting):
    task = overlap.Config().build(own_setting)
    alone = task.protocol

    task.over([last_word.Config(words=20).build(own_setting)])

    assert "tasks compared: none" in alone
    assert "tasks compared: last_word;" in task.protocol
    assert "at most once in 100,000,000" in task.protocol
    assert "none is there" in task.protocol


def test_the_set_s_own_training_text_is_the_other_column(own_setting, tmp_path):
    words = last_word.Config(words=20).build(own_setting)
    passages = [example.content for example in words.examples()]
    (tmp_path / "sets").mkdir()
    half = passages[: len(passages) // 2]
    (tmp_path / "sets" / "train.txt").write_text(
        "\n--\n".join(f"{passage.text} {passage.word}" for passage in half)
    )
    own = {"last_word": overlap.OwnTraining(files=["*.txt"])}
    with_sets = replace(own_setting, data=tmp_path / "sets")
    task = overlap.Config(generations=0, documents=0, own_training=own).build(with_sets)
    task.over([words])

    records = records_of(task)

    hits = sum(len(grams(f"{passage.text} {passage.word}")) for passage in half)
    everything = sum(len(grams(f"{passage.text} {passage.word}")) for passage in passages)
    assert figures(task, records)["own_training_last_word"] == pytest.approx(hits / everything, abs=1e-3)
    assert "training text has (last_word)" in task.protocol


def test_limit_holds_for_documents_and_texts(own_setting):
    limited = replace(own_setting, limit=2)

    assert [piece.content.of for piece in overlap.Config().build(limited).examples()] == [
        overlap.GENERATIONS, overlap.GENERATIONS, overlap.HELD_OUT_TEXT, overlap.HELD_OUT_TEXT,
    ]  # fmt: skip


def test_without_a_dataset_or_without_room_it_says_so(own_setting):
    with pytest.raises(MissingSet, match="corpus=DIR"):
        overlap.Config().build(replace(own_setting, corpus=None))
    with pytest.raises(ConfigError, match="no room"):
        overlap.Config(prompt_tokens=63).build(own_setting)
