"""Winograd schemas: what is asked, and which part of it counts."""

import dataclasses
import math

import pytest

from pipeline.evaluate.task import Reply
from pipeline.evaluate.tasks.winograd import Config
from pipeline.formats.source import MissingSet

SCHEMA = """<schema><text><txt1>{}</txt1><pron>{}</pron><txt2>{}</txt2></text>
<answers><answer>{}</answer><answer>{}</answer></answers><correctAnswer>{}</correctAnswer></schema>"""
SCHEMAS = (
    ("The cup fell off the shelf because", "it", "was wet.", "The cup", "the shelf", "B"),
    ("Ann told Bo that", "she", "had won.", "Ann", "Bo", "A."),
)


@pytest.fixture
def here(setting, tmp_path):
    texts = "".join(SCHEMA.format(*each) for each in SCHEMAS)
    (tmp_path / "WSCollection.xml").write_text(f"<collection>{texts}</collection>")
    return dataclasses.replace(setting, data=tmp_path)


def records_by(task, nats):
    return [
        task.score(example, [Reply(nats=nats(request)) for request in task.requests(example)])
        for example in task.examples()
    ]


def figures(task, records):
    return {metric.name: metric.estimate.value for metric in task.metrics(records)}


def test_both_sentences_are_asked_whole(here):
    task = Config().build(here)
    asked = task.requests(task.examples()[0])

    assert [here.tokenizer.decode(request.target) for request in asked] == [
        "The cup fell off the shelf because the cup was wet.",
        "The cup fell off the shelf because the shelf was wet.",
    ]
    assert all(request.context == (here.tokenizer.eot_id,) for request in asked)


def test_full_counts_the_whole_sentence_and_partial_what_comes_after_the_candidate(here):
    task = Config().build(here)

    def dear_where_it_ends_in_right(request):
        """Cost much for the right candidate's words, and for what comes after the wrong one."""
        right = here.tokenizer.decode(request.target).count("shelf") > 1
        end = len(here.tokenizer.encode(" was wet."))
        return (5.0 if right else 1.0,) * (len(request.target) - end) + (0.0 if right else 2.0,) * end

    record = records_by(task, dear_where_it_ends_in_right)[0]

    end = len(here.tokenizer.encode(" was wet."))
    assert (record["hit_full"], record["hit_partial"]) == (0, 1)
    assert record["nats_partial"] == [2.0 * end, 0.0]
    assert record["nats_full"][0] == record["nats_partial"][0] + len(
        here.tokenizer.encode("The cup fell off the shelf because")
    ) + len(here.tokenizer.encode(" the cup"))
    assert record["answer"] == "The cup fell off the shelf because the shelf was wet."


def test_a_model_that_cannot_tell_has_an_even_chance_in_part(here):
    task = Config().build(here)
    records = records_by(task, lambda request: (math.log(400),) * len(request.target))
    tokens = sum(
        record["answer_nats"] / math.log(400) for record in records
    )  # of the right sentences, each alone

    assert figures(task, records)["accuracy_partial"] == 0.5
    expected = tokens * math.log2(400) / sum(len(record["answer"]) for record in records)
    assert figures(task, records)["bits_per_byte"] == pytest.approx(expected)


def test_a_model_that_knows_is_always_right(here):
    task = Config().build(here)
    right = {record["answer"] for record in records_by(task, lambda request: (0.0,) * len(request.target))}

    def known(request):
        return (float(here.tokenizer.decode(request.target) not in right),) * len(request.target)

    found = figures(task, records_by(task, known))
    assert found == {"accuracy_full": 1, "accuracy_partial": 1, "bits_per_byte": 0, "context_cut": 0}


def test_lm_evals_way_has_no_end_of_text_if_so_asked(here):
    task = Config(substitution="lm-eval", end_of_text=False).build(here)
    asked = task.requests(task.examples()[1])
    ids = here.tokenizer.encode("Ann told Bo that") + here.tokenizer.encode(" Bo")

    assert [*asked[1].context, *asked[1].target] == ids + here.tokenizer.encode("  had won.")
    assert len(asked[1].context) == 1
    assert "(lm-eval)" in task.protocol and "without end-of-text" in task.protocol


@pytest.mark.parametrize("n_ctx", [4, 12])
def test_a_sentence_too_long_is_read_in_windows_and_counted(here, n_ctx):
    task, whole = Config().build(dataclasses.replace(here, n_ctx=n_ctx)), Config().build(here)
    asked = task.requests(task.examples()[0])

    assert all(len(request.context) + len(request.target) - 1 <= n_ctx for request in asked)
    read = [id for request in asked for id in request.target]
    assert read == [id for request in whole.requests(whole.examples()[0]) for id in request.target]
    records = records_by(task, lambda request: (1.0,) * len(request.target))
    assert records[0]["cut"] and records[0]["nats_partial"] == [len(here.tokenizer.encode(" was wet."))] * 2
    assert figures(task, records)["context_cut"] > 0


def test_the_limit_holds_and_a_missing_set_is_named(here, setting, tmp_path):
    assert len(Config().build(dataclasses.replace(here, limit=1)).examples()) == 1
    (tmp_path / "WSCollection.xml").unlink()
    with pytest.raises(MissingSet, match=r"Winograd Schema Challenge: not below .*; get it from https://"):
        Config().build(here)


@pytest.mark.real_data
@pytest.mark.slow
def test_lm_evals_sentences_are_built_to_the_letter(real_data, setting):
    utils = pytest.importorskip("lm_eval.tasks.wsc273.utils")
    normal = vars(utils)["__normalize_option"]
    task = Config(substitution="lm-eval", end_of_text=False).build(
        dataclasses.replace(setting, data=real_data / "eval", n_ctx=2048)
    )

    for example in task.examples():
        schema = example.content
        text = f"{schema.before} {schema.pronoun} {schema.after}"
        row = {"text": text, "pronoun": schema.pronoun, "pronoun_loc": len(schema.before) + 1}
        asked = [setting.tokenizer.decode((*r.context, *r.target)) for r in task.requests(example)]
        assert asked == [
            f"{schema.before} {normal(row, candidate)} {text[len(schema.before) + 1 + len(schema.pronoun) :]}"
            for candidate in schema.candidates
        ]
