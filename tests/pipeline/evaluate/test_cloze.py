"""The Children's Book Test: how its files are read, what is asked, and what counts."""

import dataclasses
import math

import pytest

from pipeline.errors import FormatError
from pipeline.evaluate.task import Reply
from pipeline.evaluate.tasks import cbt_cn, cbt_ne
from pipeline.formats.source import MissingSet

SENTENCES = [f"{number} Sentence {number} was here , ` was it ? '" for number in range(1, 21)]
QUERY = "21 So the XXXXX did n't bark .\tdog\t\tcat|dog|cow|hen|pig|fox|owl|bat|ant|eel"
QUESTION = "\n".join([*SENTENCES, QUERY])


def write(folder, kind="CN", questions=(QUESTION,)):
    path = folder / "CBTest" / "data" / f"cbtest_{kind}_valid_2000ex.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(questions) + "\n\n")
    return path


@pytest.fixture
def here(setting, tmp_path):
    write(tmp_path)
    return dataclasses.replace(setting, data=tmp_path, n_ctx=2048)


def text_of(request, setting):
    return setting.tokenizer.decode(request.context[1:]), setting.tokenizer.decode(request.target)


def replies_by(task, nats):
    (example,) = task.examples()
    return task.score(example, [Reply(nats=nats(request)) for request in task.requests(example)])


def test_each_choice_is_asked_with_the_rest_of_its_sentence_after_the_same_text(here):
    task = cbt_cn.Config().build(here)
    (example,) = task.examples()
    asked = [text_of(request, here) for request in task.requests(example)]

    assert len(asked) == 10 and len({context for context, _ in asked}) == 1
    assert asked[1][1] == " dog didn't bark."
    assert asked[0][0].startswith("Sentence 1 was here, 'was it?' Sentence 2")
    assert asked[0][0].endswith("Sentence 20 was here, 'was it?' So the")
    assert task.requests(example)[0].context[0] == here.tokenizer.eot_id


def test_tokens_and_what_joins_sentences_can_be_left_as_they_are(here):
    task = cbt_cn.Config(detokenize=False, separator="\n").build(here)
    context, target = text_of(task.requests(task.examples()[0])[1], here)

    assert context.startswith("Sentence 1 was here , ` was it ? '\nSentence 2") and context.endswith(
        "\nSo the"
    )
    assert target == " dog did n't bark ."
    assert "tokens as they are" in task.protocol and r"'\n'" in task.protocol


def test_a_word_right_after_an_opening_mark_has_no_blank(setting, tmp_path):
    write(tmp_path, questions=["\n".join([*SENTENCES, QUERY.replace("the XXXXX", "` XXXXX '")])])
    task = cbt_cn.Config().build(dataclasses.replace(setting, data=tmp_path, n_ctx=2048))
    context, target = text_of(task.requests(task.examples()[0])[1], setting)

    assert context.endswith(" So '") and target == "dog' didn't bark."


def test_a_model_that_knows_the_word_is_right_and_one_that_is_sure_of_another_is_not(here):
    task = cbt_cn.Config().build(here)

    def sure_of(word):
        return lambda request: (0.0 if text_of(request, here)[1].startswith(f" {word}") else 9.0,)

    right, wrong = replies_by(task, sure_of("dog")), replies_by(task, sure_of("owl"))

    assert (right["hit"], right["chosen"], right["answer_nats"]) == (1, "dog", 0)
    assert (wrong["hit"], wrong["chosen"], wrong["answer"]) == (0, "owl", "dog")
    found = {metric.name: metric.estimate for metric in task.metrics([right, wrong])}
    assert found["accuracy"].value == 0.5 and found["accuracy"].stderr == pytest.approx(0.5)
    assert found["bits_per_byte"].value == pytest.approx(9 / math.log(2) / (2 * len(" dog didn't bark.")))


def test_a_model_that_cannot_tell_has_the_chance_of_one_in_ten(here):
    task = cbt_cn.Config().build(here)
    record = replies_by(task, lambda _: (math.log(400),))

    assert record["hit"] == pytest.approx(0.1)


@pytest.mark.parametrize("n_ctx", [8, 64])
def test_a_context_too_long_loses_its_beginning_alike_for_all_choices_and_is_counted(here, n_ctx):
    task = cbt_cn.Config().build(dataclasses.replace(here, n_ctx=n_ctx))
    whole = cbt_cn.Config().build(here)
    (example,) = task.examples()
    targets = [here.tokenizer.encode(f" {choice} didn't bark.") for choice in example.content.choices]
    asked = task.requests(example)

    assert [id for request in asked for id in request.target] == [id for target in targets for id in target]
    assert all(len(request.context) + len(request.target) - 1 <= n_ctx for request in asked)
    first = asked[0].context
    assert first == whole.requests(example)[0].context[-len(first) :]
    record = replies_by(task, lambda request: (1.0,) * len(request.target))
    assert record["cut"] and record["nats"] == list(map(len, targets))
    assert {metric.name: metric.estimate.value for metric in task.metrics([record])}["context_cut"] == 1
    assert not replies_by(whole, lambda _: (1.0,))["cut"]


def test_named_entities_have_their_own_file_and_the_limit_holds(setting, tmp_path):
    write(tmp_path, "NE", [QUESTION] * 3)
    here = dataclasses.replace(setting, data=tmp_path, limit=2)

    assert [example.number for example in cbt_ne.Config().build(here).examples()] == [0, 1]
    assert cbt_ne.Config().build(here).name == "cbt_ne"
    with pytest.raises(MissingSet, match=r"common nouns.*cbtest_CN_valid_2000ex.txt.*CBTest.tgz"):
        cbt_cn.Config().build(here)


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (3, "4 A sentence out of turn .", "3: not line 3 of a question"),
        (3, "no number", "3: not line 3 of a question"),
        (21, "21 So the XXXXX barked .\tdog\tcat|dog", "21: 3 columns"),
        (21, "21 So the dog barked .\tdog\t\tcat|dog", "21: no XXXXX in the query"),
        (21, "21 So the XXXXX barked .\tcow\t\tcat|dog", "21: the answer 'cow' is not one of"),
        (21, "21 So the XXXXX barked .\tdog\t\tdog|dog", "21: the answer 'dog' is not one of two"),
        (21, "", "20: the last question has no line 21"),
    ],
)
def test_a_malformed_row_is_named_with_file_and_line(setting, tmp_path, line, text, message):
    lines = [*SENTENCES, QUERY]
    lines[line - 1] = text
    path = write(tmp_path, questions=["\n".join(lines)])

    with pytest.raises(FormatError, match="get the file anew") as raised:
        cbt_cn.Config().build(dataclasses.replace(setting, data=tmp_path))
    assert f"{path}:{message}" in str(raised.value)


def test_a_set_that_lies_there_twice_is_refused(setting, tmp_path):
    paths = [write(tmp_path / copy) for copy in ("one", "two")]

    with pytest.raises(FormatError, match=f"{paths[0]} and {paths[1]}: more than one"):
        cbt_cn.Config().build(dataclasses.replace(setting, data=tmp_path))


@pytest.mark.real_data
def test_published_layouts_are_read(real_data, setting):
    here = dataclasses.replace(setting, data=real_data / "eval")

    for task in (cbt_cn.Config().build(here), cbt_ne.Config().build(here)):
        (example,) = task.examples()
        assert len(example.content.sentences) == 20 and len(example.content.choices) == 10
