"""CoQA: which conversation stands before an answer, and how answers are scored."""

import dataclasses
import json
import math

import pytest

from pipeline.errors import ConfigError, FormatError
from pipeline.evaluate.task import Generation, Reply
from pipeline.evaluate.tasks.coqa import SOURCE, Config
from pipeline.formats.source import MissingSet


def turns(*texts):
    return [{"input_text": text, "turn_id": number} for number, text in enumerate(texts, 1)]


def story(**changes):
    row = {
        "id": "one",
        "source": "cnn",
        "story": "Ann has a red cat.",
        "questions": turns("Who has it?", "What color?"),
        "answers": turns("Ann", "red"),
        "additional_answers": {"0": turns("Ann does", "a red one"), "1": turns("ann", "pink")},
    }
    return {key: value for key, value in (row | changes).items() if value is not None}


def write(folder, *stories):
    path = folder / "coqa-dev-v1.0.json"
    path.write_text(json.dumps({"version": "1.0", "data": stories}, indent=1))
    return path


@pytest.fixture
def here(setting, tmp_path):
    write(
        tmp_path,
        story(),
        story(id="two", questions=turns("Who?"), answers=turns("Ann"), additional_answers={}),
    )
    return dataclasses.replace(setting, data=tmp_path, n_ctx=512)


def records_by(task, text, nats=0.0):
    def reply(example, request):
        if isinstance(request, Generation):
            return Reply(text=text(example.content))
        return Reply(nats=(nats,) * len(request.target))

    return [
        task.score(example, [reply(example, request) for request in task.requests(example)])
        for example in task.examples()
    ]


def figures(task, records):
    return {metric.name: metric.estimate for metric in task.metrics(records)}


def test_every_turn_is_asked_after_passage_and_history(here):
    task = Config().build(here)
    asked = [task.requests(example)[0] for example in task.examples()]
    prompts = [here.tokenizer.decode(request.prompt[1:]) for request in asked]

    assert prompts == [
        "Ann has a red cat.\n\nQ: Who has it?\nA:",
        "Ann has a red cat.\n\nQ: Who has it?\nA: Ann\nQ: What color?\nA:",
        "Ann has a red cat.\n\nQ: Who?\nA:",
    ]
    assert all(request.prompt[0] == here.tokenizer.eot_id for request in asked)
    assert all(
        (request.temperature, request.max_new_tokens, request.stop) == (0, 32, ("\n",)) for request in asked
    )


def test_what_the_paper_leaves_open_is_a_choice_and_told(here):
    task = Config(passage_end="\n", turn_end="\n\n", max_new_tokens=9).build(here)
    request = task.requests(task.examples()[1])[0]

    assert here.tokenizer.decode(request.prompt[1:]) == (
        "Ann has a red cat.\nQ: Who has it?\nA: Ann\n\nQ: What color?\nA:"
    )
    assert (request.stop, request.max_new_tokens) == (("\n\n",), 9)
    assert r"up to '\n\n' or 9 tokens" in task.protocol


def test_answers_are_scored_as_people_are(here):
    task = Config().build(here)
    first, second, third = records_by(task, lambda turn: [" Ann.", " a red"][turn.place])

    # "ann" is left by the first and third reference; without either the other still matches
    assert (first["answer"], first["exact_match"], first["f1"]) == ("Ann.", 1, 1)
    # "red" matches the first alone; without it "red one" shares one word of two: F1 2/3
    assert second["exact_match"] == pytest.approx(2 / 3) and second["f1"] == pytest.approx(
        (2 / 3 + 1 + 1) / 3
    )
    assert (third["references"], third["exact_match"]) == (["Ann"], 1)
    found = figures(task, [first, second, third])
    assert found["exact_match"].value == pytest.approx((1 + 2 / 3 + 1) / 3)
    assert found["f1"].stderr > 0 and found["f1"].num_examples == 3


def test_a_model_that_knows_has_all_there_is_and_an_empty_answer_is_wrong(here):
    task = Config().build(here)
    known = figures(task, records_by(task, lambda turn: turn.conversation.references[turn.place][0])[::2])
    empty = figures(task, records_by(task, lambda _: "", nats=math.log(400)))

    assert (known["f1"].value, known["exact_match"].value, known["bits_per_byte"].value) == (1, 1, 0)
    assert (empty["f1"].value, empty["exact_match"].value, empty["empty"].value) == (0, 0, 1)
    texts = (" Ann", " red", " Ann")
    tokens = sum(len(here.tokenizer.encode(text)) for text in texts)
    expected = tokens * math.log2(400) / sum(map(len, texts))
    assert empty["bits_per_byte"].value == pytest.approx(expected)


def test_a_prompt_too_long_loses_its_beginning_and_is_counted(here):
    task = Config(max_new_tokens=20).build(dataclasses.replace(here, n_ctx=32))
    whole = task.requests(task.examples()[1])
    prompt, reference = whole[0].prompt, whole[1]

    assert len(prompt) == 12 and here.tokenizer.decode(prompt).endswith("A:")
    assert len(reference.context) + len(reference.target) - 1 <= 32
    records = records_by(task, lambda _: "")
    assert all(record["cut"] for record in records) and figures(task, records)["context_cut"].value == 1
    assert not any(record["cut"] for record in records_by(Config().build(here), lambda _: ""))


def test_answers_that_leave_no_room_are_refused(here):
    with pytest.raises(ConfigError, match="coqa: max_new_tokens is 32"):
        Config().build(dataclasses.replace(here, n_ctx=32))


def test_the_limit_is_one_of_turns_and_a_missing_set_is_named(here, tmp_path):
    assert len(Config().build(dataclasses.replace(here, limit=2)).examples()) == 2
    with pytest.raises(MissingSet, match=r"CoQA.*coqa-dev-v1.0.json"):
        Config().build(dataclasses.replace(here, data=tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (story(story=7), "something else than text"),
        (story(answers=turns("Ann")), "turns that are not numbered as the questions are"),
        (story(additional_answers={"0": turns("Ann")}), "turns that are not numbered"),
        (story(questions=[], answers=[], additional_answers={}), "no question"),
        (story(answers=None), "KeyError: 'answers'"),
        (story(questions=["Who?"]), "TypeError"),
    ],
)
def test_a_malformed_conversation_is_named_with_file_and_line(setting, tmp_path, row, message):
    path = write(tmp_path, story(), row)
    line = [n for n, text in enumerate(path.read_text().split("\n"), 1) if '"story"' in text][1]

    with pytest.raises(FormatError) as raised:
        Config().build(dataclasses.replace(setting, data=tmp_path))
    assert str(raised.value).startswith(f"{path}:{line}: conversation 1: ") and message in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"), [('{"data": [\n{,', ":2: "), ("[]", ":1: no conversations under `data`")]
)
def test_a_file_that_is_no_set_is_named(setting, tmp_path, content, message):
    path = tmp_path / "coqa-dev-v1.0.json"
    path.write_text(content)

    with pytest.raises(FormatError) as raised:
        Config().build(dataclasses.replace(setting, data=tmp_path))
    assert f"{path}{message}" in str(raised.value)


def test_rows_by_name_read_like_the_file(here):
    row = {
        "id": "one",
        "source": "cnn",
        "story": "Ann has a red cat.",
        "questions": {"input_text": ["Who has it?", "What color?"], "turn_id": [1, 2]},
        "answers": {"input_text": ["Ann", "red"], "turn_id": [1, 2]},
        "additional_answers": {
            "0": {"input_text": ["Ann does", "a red one"], "turn_id": [1, 2]},
            "1": {"input_text": ["ann", "pink"], "turn_id": [1, 2]},
        },
    }

    assert SOURCE.hub.row(row) == here.rows(SOURCE).rows[0]


@pytest.mark.real_data
def test_the_published_layout_is_read(real_data, setting):
    task = Config().build(dataclasses.replace(setting, data=real_data / "eval", n_ctx=4096))
    found = [example.content for example in task.examples()]

    assert len(found) > 10 and len(found[0].conversation.references[0]) == 4
    records = records_by(task, lambda turn: turn.conversation.references[turn.place][0])
    assert 0.5 < figures(task, records)["f1"].value < 1
