"""What is asked for an article, and what of the replies is scored."""

import dataclasses

import pytest

from pipeline.evaluate.task import Generation, Reply
from pipeline.evaluate.tasks.cnn_dailymail import Config

TEXT = "A dam broke in the north. Nobody was hurt. Rain goes on. Roads are shut. Help is near."
HIGHLIGHTS = ["A dam broke.", "Nobody was hurt."]


@pytest.fixture
def task(setting, tmp_path):
    (tmp_path / "cnndm").mkdir()
    row = f"{TEXT}\t{'  '.join(HIGHLIGHTS)}\n"
    (tmp_path / "cnndm" / "cnndm_mini-dataset.tsv").write_text(row * 3)

    def build(n_ctx=512, **options):
        return Config(**options).build(dataclasses.replace(setting, data=tmp_path, n_ctx=n_ctx))

    return build


def scored(task, *texts, number=0):
    example = task.examples()[number]
    written = iter(texts)
    return task.score(
        example,
        [
            Reply(text=next(written))
            if isinstance(each, Generation)
            else Reply(nats=(1.0,) * len(each.target))
            for each in task.requests(example)
        ],
    )


def test_a_summary_is_asked_for_by_the_hint_and_once_without(task, setting):
    decode = setting.tokenizer.decode
    hinted, bare, loss = task().requests(task().examples()[0])

    assert decode(hinted.prompt[1:]) == f"{TEXT}\nTL;DR:" and decode(bare.prompt[1:]) == TEXT
    assert hinted.prompt[0] == bare.prompt[0] == setting.tokenizer.eot_id
    assert (hinted.max_new_tokens, hinted.top_k, hinted.temperature) == (100, 2, 1.0)
    assert loss.context == hinted.prompt and decode(loss.target) == " A dam broke. Nobody was hurt."
    seeds = {each.seed for example in task().examples() for each in task().requests(example)[:2]}
    assert len(seeds) == 6


def test_the_first_three_sentences_are_scored(task):
    written = " A dam broke. Nobody was hurt.\n\nThe end. Not this one."
    record = scored(task(), written, "Up. Down. Left. All of it.")

    assert record["summaries"]["summary"] == "A dam broke. Nobody was hurt. The end."
    assert record["written"] == written, "all that was written is kept"
    assert record["summaries"]["no_hint"] == "Up. Down. Left."
    assert record["written_no_hint"] == "Up. Down. Left. All of it."
    assert record["scores"][""]["rouge_1"] == pytest.approx(100 * 2 * 6 / (6 + 8))
    assert record["scores"]["no_hint"]["rouge_1"] == 0


def test_baselines_are_the_articles_own_sentences(task):
    record = scored(task(), "", "")
    chosen = [scored(task(), "", "", number=number)["summaries"]["random_3"] for number in range(3)]

    assert record["summaries"]["lead_3"] == "A dam broke in the north. Nobody was hurt. Rain goes on."
    assert chosen[0] == record["summaries"]["random_3"] and len(set(chosen)) > 1
    assert record["scores"]["lead_3"]["rouge_1"] == pytest.approx(100 * 2 * 6 / (6 + 12))


def test_an_empty_summary_scores_nothing_and_is_counted(task):
    built = task()
    records = [scored(built, " \n", ""), scored(built, " ".join(HIGHLIGHTS), "")]

    found = {metric.name: metric.estimate for metric in built.metrics(records)}

    assert records[0]["empty"] and set(records[0]["scores"][""].values()) == {0}
    assert found["empty"].value == found["rouge_l"].value / 100 == 0.5
    assert found["rouge_average_no_hint"].value == 0 and "rouge_l_whole_random_3" in found
    assert found["bits_per_byte"].num_examples == found["rouge_1"].num_examples == 2


@pytest.mark.parametrize(("keep", "place"), [("beginning", slice(None, 20)), ("end", slice(-20, None))])
def test_of_a_long_article_one_end_is_kept_and_the_hint_always(keep, place, task, setting):
    built = task(n_ctx=64, keep=keep)
    hinted, bare, *losses = built.requests(built.examples()[0])
    text = setting.tokenizer.decode(hinted.prompt[1:])

    article, hint = text.removesuffix("\nTL;DR:"), text[-7:]
    assert hint == "\nTL;DR:" and len(hinted.prompt) + hinted.max_new_tokens == 64
    assert article[place] == TEXT[place] if keep == "beginning" else article.endswith(TEXT[-8:])
    assert len(bare.prompt) == len(hinted.prompt) and scored(built, "", "")["cut"]
    assert f"its {keep} kept" in built.protocol


def test_without_the_ablation_the_model_writes_once(task):
    wish, loss = task(no_hint=False).requests(task().examples()[0])

    assert isinstance(wish, Generation) and not isinstance(loss, Generation)
    assert "no_hint" not in scored(task(no_hint=False), "A dam.")["scores"]
