"""Natural Questions: the prompt that seeds answers, exact match, and the answers the model is surest of."""

import dataclasses
import json
import math

import pytest
import yaml

from pipeline.config import dump, validate
from pipeline.errors import ConfigError, FormatError
from pipeline.evaluate.task import Generation, Reply
from pipeline.evaluate.tasks.natural_questions import PAIRS, SOURCE, Config
from pipeline.formats.source import MissingSet

ROWS = [{"question": f"what is {n} and {n}", "answer": [str(2 * n), f"the {2 * n}"]} for n in range(150)]


def write(folder, rows):
    (folder / "NQ-open.dev.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder / "NQ-open.dev.jsonl"


@pytest.fixture
def here(setting, tmp_path):
    write(tmp_path, ROWS)
    return dataclasses.replace(setting, data=tmp_path, check_sums=False, n_ctx=1024)


def records_by(task, answer, likelihood):
    def reply(example, request):
        if isinstance(request, Generation):
            return Reply(text=answer(example), nats=(-math.log(likelihood(example)) / 2,) * 2)
        return Reply(nats=(1.0,) * len(request.target))

    return [
        task.score(example, [reply(example, request) for request in task.requests(example)])
        for example in task.examples()
    ]


def figures(task, records):
    return {metric.name: metric.estimate for metric in task.metrics(records)}


def test_the_question_comes_after_pairs_in_the_same_words(here):
    task = Config(pairs=(("who was first", "Ann"), ("who was last", "Bo"))).build(here)
    generation = task.requests(task.examples()[3])[0]

    assert here.tokenizer.decode(generation.prompt[1:]) == (
        "Q: who was first?\nA: Ann\nQ: who was last?\nA: Bo\nQ: what is 3 and 3?\nA:"
    )
    assert generation.prompt[0] == here.tokenizer.eot_id
    assert (generation.temperature, generation.stop, generation.nats) == (0, ("\n",), True)
    assert r"Q: who was first?\nA: Ann\nQ: who was last?\nA: Bo\n" in task.protocol


def test_the_wording_is_a_choice(here):
    task = Config(pairs=(("x", "y"),), question="{question} =", answer_end=";", max_new_tokens=5).build(here)
    generation = task.requests(task.examples()[0])[0]

    assert here.tokenizer.decode(generation.prompt[1:]) == "x = y;what is 0 and 0 ="
    assert (generation.stop, generation.max_new_tokens) == ((";",), 5)


def test_pairs_survive_being_written_down():
    config = Config(pairs=(("x: 'y'", "z\n"),))

    assert validate(Config, yaml.safe_load(dump(config)), "here") == config


def test_a_wording_without_the_question_is_refused():
    with pytest.raises(ConfigError, match="question"):
        validate(Config, {"question": "Q: so?\nA:"}, "here")


def test_a_model_that_knows_and_is_sure_is_perfect(here):
    task = Config().build(here)
    found = figures(task, records_by(task, lambda example: f" The {2 * example.number}.", lambda _: 1.0))

    perfect = {
        "exact_match": 1,
        "exact_match_confident_1_percent": 1,
        "confidence": 1,
        "calibration_error": 0,
    }
    assert {name: found[name].value for name in perfect} == perfect
    assert found["exact_match"].num_examples == 150
    assert found["exact_match_confident_1_percent"].num_examples == 2


def test_the_most_confident_answers_are_counted_apart(here):
    task = Config().build(here)
    records = records_by(
        task,
        lambda example: "200" if example.number in (70, 100) else "none",
        lambda example: 0.9 if example.number in (70, 100) else 0.1,
    )
    found = figures(task, records)

    assert found["exact_match"].value == pytest.approx(1 / 150)
    assert found["exact_match_confident_1_percent"].value == 0.5
    assert found["confidence"].value == pytest.approx((2 * 0.9 + 148 * 0.1) / 150)
    assert 0 < found["calibration_error"].value < 0.2 and found["calibration_error"].stderr > 0


def test_an_empty_answer_is_wrong_and_never_confident(here):
    task = Config().build(here)
    records = records_by(task, lambda _: " ", lambda _: 1.0)

    assert (records[0]["answer"], records[0]["exact_match"], records[0]["confidence"]) == ("", 0, 0)
    assert figures(task, records)["empty"].value == 1


def test_the_first_reference_costs_its_bytes(here):
    task = Config().build(here)
    record = records_by(task, lambda _: "", lambda _: 1.0)[50]

    assert record["answer_nats"] == len(here.tokenizer.encode(" 100")) and record["bytes"] == 4


def test_a_prompt_too_long_loses_its_beginning_and_is_counted(here):
    task = Config(max_new_tokens=8).build(dataclasses.replace(here, n_ctx=40))
    generation, reference = task.requests(task.examples()[0])

    assert len(generation.prompt) == 32
    assert here.tokenizer.decode(generation.prompt).endswith("what is 0 and 0?\nA:")
    assert len(reference.context) + len(reference.target) - 1 <= 40
    records = records_by(task, lambda _: "", lambda _: 1.0)
    assert records[0]["cut"] and figures(task, records)["context_cut"].value == 1


def test_no_room_and_a_missing_set_are_named(here, tmp_path):
    with pytest.raises(ConfigError, match="natural_questions: max_new_tokens is 16"):
        Config().build(dataclasses.replace(here, n_ctx=16))
    with pytest.raises(MissingSet, match=r"Natural Questions.*NQ-open.dev.jsonl"):
        Config().build(dataclasses.replace(here, data=tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"question": "who"}', "KeyError: 'answer'"),
        ('{"question": "who", "answer": []}', "one answer or more"),
        ('{"question": 7, "answer": ["x"]}', "found 7"),
        ("no JSON", "JSONDecodeError"),
        ("[]", "TypeError"),
    ],
)
def test_a_malformed_row_is_named_with_file_and_line(here, tmp_path, row, message):
    path = tmp_path / "NQ-open.dev.jsonl"
    path.write_text(f"{json.dumps(ROWS[0])}\n\n{row}\n")

    with pytest.raises(FormatError) as raised:
        Config().build(here)
    assert str(raised.value).startswith(f"{path}:3: ") and message in str(raised.value)


def test_another_file_than_the_published_one_is_refused_by_its_sum(here):
    with pytest.raises(FormatError, match="was published with f15567f38099"):
        Config().build(dataclasses.replace(here, check_sums=True))


@pytest.mark.real_data
def test_the_pairs_are_not_in_the_set(real_data, setting):
    found = dataclasses.replace(setting, data=real_data / "eval").rows(SOURCE).rows

    assert len(found) == 3610
    assert not {question for question, _ in PAIRS} & {question.text for question in found}
    for asked, answer in PAIRS:
        alike = [q for q in found if answer in q.references and set(asked.split()) <= set(q.text.split())]
        assert not alike
