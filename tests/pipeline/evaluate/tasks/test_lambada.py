"""What is asked of LAMBADA's passages, and that each of its three ways to count a hit counts its own."""

import dataclasses
import json
import math

import pytest

from model.tokenizer import gpt2
from pipeline.errors import ConfigError, FormatError
from pipeline.evaluate.final_word import passage_of, passed_over
from pipeline.evaluate.task import Reply
from pipeline.evaluate.tasks import lambada, lambada_original
from pipeline.formats.source import MissingSet

PASSAGES = [
    '"Go," said Ann to the old dog.\n\n"Good dog. Now where has your master gone to, you naughty creature',
    "She poured the tea. He had asked for coffee, but she never listened, and so he drank his  tea",
    "He looked for the ring in every room, and so did she. But neither of them ever found it",
]


@pytest.fixture(scope="module")
def tokenizer():
    return gpt2()


@pytest.fixture
def gpt2_setting(setting, tmp_path, tokenizer):
    """GPT-2's tokenizer, and a folder of sets with three passages in it."""
    (tmp_path / "lambada").mkdir()
    lines = [json.dumps({"text": passage}) for passage in PASSAGES]
    (tmp_path / "lambada/lambada_test.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "lambada/lambada_test_plain_text.txt").write_text("`` why ? '' he asked , did n't you know\n")
    return dataclasses.replace(setting, data=tmp_path, check_sums=False, tokenizer=tokenizer, n_ctx=1024)


@pytest.fixture
def small_setting(gpt2_setting):
    """The same with a tokenizer that cuts words into many tokens."""
    small = gpt2_setting.manifest.load_tokenizer(gpt2_setting.dataset)
    return dataclasses.replace(gpt2_setting, tokenizer=small)


def reply(request, *, likeliest=None, instead=None, nats=1.0):
    ids = request.target if likeliest is None else likeliest
    instead = request.target[0] if instead is None else instead
    return Reply(
        nats=(nats,) * len(request.target), greedy=ids == request.target, likeliest=ids, instead=instead
    )


def records(task, answer):
    return [task.score(e, [answer(request) for request in task.requests(e)]) for e in task.examples()]


def values(task, answer):
    return {metric.name: metric.estimate.value for metric in task.metrics(records(task, answer))}


def test_the_ids_asked_are_those_of_the_whole_passage_cut_before_its_last_word(gpt2_setting):
    task = lambada.Config().build(gpt2_setting)
    tokenizer = gpt2_setting.tokenizer
    for example, passage in zip(task.examples(), PASSAGES, strict=True):
        (request,) = task.requests(example)
        assert [*request.context, *request.target] == tokenizer.encode(passage)
        assert tokenizer.decode(request.target).split() == [passage.split()[-1]]
        assert request.greedy and request.without


def test_blanks_before_the_last_word_belong_to_it():
    assert passage_of("he drank his  tea").text == "he drank his"
    assert passage_of("he drank his  tea").ending == "  tea" and passage_of("a b").word == "b"


def test_end_of_text_comes_before_the_passage_if_wanted(gpt2_setting):
    task = lambada.Config(end_of_text=True).build(gpt2_setting)
    (request,) = task.requests(task.examples()[0])

    assert request.context[0] == gpt2_setting.tokenizer.eot_id
    assert "after end-of-text" in task.protocol


def test_a_model_that_knows_the_words_hits_all_but_the_stop_word(gpt2_setting):
    found = values(lambada.Config().build(gpt2_setting), lambda request: reply(request, nats=0.0))

    assert found["accuracy_last_token"] == found["accuracy_last_word"] == 1
    assert found["accuracy_stop_word_filter"] == pytest.approx(2 / 3)  # "it" can be no last word
    assert found["perplexity"] == found["token_perplexity"] == 1 and found["bits_per_byte"] == 0


def test_the_last_token_alone_can_be_hit(small_setting):
    task = lambada.Config().build(small_setting)
    asked = [task.requests(example)[0] for example in task.examples()]
    assert all(len(request.target) > 1 and request.target[0] for request in asked)
    found = values(task, lambda request: reply(request, likeliest=(0, *request.target[1:])))

    assert found["accuracy_last_token"] == 1 and found["accuracy_last_word"] == 0
    assert found["accuracy_stop_word_filter"] == pytest.approx(2 / 3)  # it looks past the likeliest


def test_the_filter_hits_where_only_a_stop_word_was_likelier(gpt2_setting):
    task = lambada.Config().build(gpt2_setting)
    the = gpt2_setting.tokenizer.encode(" the")[0]
    found = values(task, lambda request: reply(request, likeliest=(the, *request.target[1:])))

    assert found["accuracy_last_word"] == 0 and found["accuracy_stop_word_filter"] == pytest.approx(2 / 3)
    missed = values(task, lambda request: reply(request, instead=the))
    assert missed["accuracy_last_word"] == 1 and missed["accuracy_stop_word_filter"] == 0


def test_perplexity_is_per_word_and_per_token(small_setting):
    task, tokenizer = lambada.Config().build(small_setting), small_setting.tokenizer
    size = tokenizer.vocab_size
    found = values(task, lambda request: reply(request, nats=math.log(size)))
    words = [passage_of(passage).ending for passage in PASSAGES]
    tokens = sum(len(tokenizer.encode(word)) for word in words)

    assert tokens > 3
    assert found["token_perplexity"] == pytest.approx(size)
    assert found["perplexity"] == pytest.approx(size ** (tokens / 3))
    assert found["bits_per_byte"] == pytest.approx(tokens * math.log2(size) / sum(map(len, words)))


def test_what_is_passed_over_is_stop_words_and_what_is_no_word(tokenizer):
    found = set(passed_over(tokenizer, frozenset({"the"})))
    spelled = {id: tokenizer.decode([id]) for id in found}

    assert {" the", "The", " THE", ",", "\n", '."', "<|endoftext|>"} <= set(spelled.values())
    for id, text in spelled.items():
        word = any(map(str.isalnum, text)) and id != tokenizer.eot_id
        assert not word or text.strip().lower() == "the"
    assert not found & {tokenizer.encode(" then")[0], tokenizer.encode(" é")[0]}


def test_the_stop_words_can_be_others(gpt2_setting):
    task = lambada.Config(stop_words=["tea"]).build(gpt2_setting)

    assert [record["hit_stop_word_filter"] for record in records(task, reply)] == [True, False, True]


def test_a_passage_too_long_loses_its_beginning_and_is_marked(gpt2_setting):
    task = lambada.Config().build(dataclasses.replace(gpt2_setting, n_ctx=16))
    requests = [task.requests(example)[0] for example in task.examples()]
    found = records(task, reply)

    assert all(len(request.context) + len(request.target) - 1 <= 16 for request in requests)
    assert [*requests[1].context, *requests[1].target] == gpt2_setting.tokenizer.encode(PASSAGES[1])[-17:]
    assert all(record["cut"] for record in found)
    assert values(task, reply)["context_cut"] == 1
    assert values(lambada.Config().build(gpt2_setting), reply)["context_cut"] == 0


def test_a_word_longer_than_the_context_is_an_error(small_setting):
    task = lambada.Config().build(dataclasses.replace(small_setting, n_ctx=2))

    with pytest.raises(ConfigError, match="lambada: a word of .* tokens does not fit n_ctx 2"):
        task.requests(task.examples()[0])


def test_records_keep_the_passage_and_what_the_model_would_have_said(gpt2_setting):
    task = lambada.Config().build(gpt2_setting)
    dog = tuple(gpt2_setting.tokenizer.encode(" dog"))
    record = records(task, lambda request: reply(request, likeliest=dog, instead=dog[0]))[0]

    assert record["text"] + " " + record["word"] == PASSAGES[0]
    assert record["likeliest"] == record["likeliest_filtered"] == " dog"


def test_the_original_text_is_read_as_it_is_or_de_tokenized(gpt2_setting):
    plain = lambada_original.Config().build(gpt2_setting)
    written = lambada_original.Config(detokenize=True).build(gpt2_setting)
    texts = [task.examples()[0].content.text for task in (plain, written)]

    assert texts == ["`` why ? '' he asked , did n't you", '"why?" he asked, didn\'t you']
    assert plain.name == "lambada_original" and "de-tokenized" in written.protocol


@pytest.mark.parametrize(
    "line, fault",
    [
        ('{"text": "one"}', "a passage is two words at least"),
        ('{"text": "ends with a blank "}', "a passage is two words at least"),
        ('{"txt": "a b"}', "KeyError"),
        ("[1]", "TypeError"),
        ('{"text": null}', "AttributeError"),
        ("not json", "JSONDecodeError"),
        ("", "JSONDecodeError"),
    ],
)
def test_malformed_rows_are_named_by_file_and_line(gpt2_setting, line, fault):
    path = gpt2_setting.data / "lambada/lambada_test.jsonl"
    path.write_text(f'{{"text": "a b c"}}\n{line}\n')

    with pytest.raises(FormatError, match=rf"lambada_test\.jsonl:2: .*{fault}"):
        lambada.Config().build(gpt2_setting)


def test_an_empty_line_of_the_original_text_is_named(gpt2_setting):
    path = gpt2_setting.data / "lambada/lambada_test_plain_text.txt"
    path.write_text("he asked me\n\n")

    with pytest.raises(FormatError, match=r"plain_text\.txt:2: a passage is two words"):
        lambada_original.Config().build(gpt2_setting)


def test_another_file_than_the_published_one_is_refused(gpt2_setting):
    with pytest.raises(FormatError, match=r"was published with 4aa8d02cd17c.*check_sums: false"):
        lambada.Config().build(dataclasses.replace(gpt2_setting, check_sums=True))


def test_missing_sets_are_told_with_where_to_get_them(setting, tmp_path):
    absent = dataclasses.replace(setting, data=tmp_path)

    with pytest.raises(MissingSet, match="lambada_test.jsonl"):
        lambada.Config().build(absent)
    with pytest.raises(MissingSet, match="zenodo"):
        lambada_original.Config().build(absent)


@pytest.mark.real_data
def test_the_published_passages_are_parted_as_their_words_are(real_data, setting, tokenizer):
    whole = dataclasses.replace(setting, data=real_data / "eval", tokenizer=tokenizer, n_ctx=1024)
    task = lambada.Config().build(whole)
    examples = task.examples()

    assert len(examples) == 5153
    for example in examples[::20]:
        (request,) = task.requests(example)
        passage = example.content
        assert [*request.context, *request.target] == tokenizer.encode(passage.text + passage.ending)
