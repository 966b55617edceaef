"""The inputs of Figure 1, against sequences laid by hand; what is cut when they are too long."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.tokenizer import Tokenizer, gpt2
from pipeline.finetune.dataset import Choice, Pair, Span, Text
from pipeline.finetune.transform import Layout, inputs, shares

START, DELIMITER, EXTRACT = 300, 301, 302
WORDS = st.lists(
    st.sampled_from(["Ann", "rows", "a", "boat,", "Bob's", "(wet)", "naïve", "\n", "—"]), max_size=40
)
TEXTS = WORDS.map(" ".join)


@pytest.fixture(scope="module")
def layout(tokenizer: Tokenizer) -> Layout:
    assert tokenizer.vocab_size == START
    return Layout.behind(tokenizer.vocab_size, 40)


def ids(kind, example, tokenizer, layout):
    return [list(sequence.ids) for sequence in inputs(kind, example, tokenizer, layout)]


def test_a_text_stands_between_start_and_extract(tokenizer, layout):
    assert ids("classification", Text(text="Ann rows"), tokenizer, layout) == [
        [START, *tokenizer.encode("Ann rows"), EXTRACT]
    ]


def test_a_premise_and_its_hypothesis_are_parted_by_the_delimiter(tokenizer, layout):
    rain, river = tokenizer.encode("Rain fell"), tokenizer.encode("the river rose")
    pair = Pair(first="Rain fell", second="the river rose")

    assert ids("entailment", pair, tokenizer, layout) == [[START, *rain, DELIMITER, *river, EXTRACT]]


def test_likeness_is_asked_in_both_orders(tokenizer, layout):
    rain, river = tokenizer.encode("Rain fell"), tokenizer.encode("the river rose")
    pair = Pair(first="Rain fell", second="the river rose")

    assert ids("similarity", pair, tokenizer, layout) == [
        [START, *rain, DELIMITER, *river, EXTRACT],
        [START, *river, DELIMITER, *rain, EXTRACT],
    ]


def test_each_answer_follows_passage_and_question(tokenizer, layout):
    question = Choice(context="Ann rows", question="Who rows?", answers=("Ann", "Bob sleeps"))
    before = [START, *tokenizer.encode("Ann rows Who rows?"), DELIMITER]

    assert ids("choice", question, tokenizer, layout) == [
        [*before, *tokenizer.encode("Ann"), EXTRACT],
        [*before, *tokenizer.encode("Bob sleeps"), EXTRACT],
    ]


def test_a_story_has_no_question(tokenizer, layout):
    story = Choice(context="Ann rows", question="", answers=("a boat", "the hills"))

    assert ids("choice", story, tokenizer, layout)[1] == [
        START,
        *tokenizer.encode("Ann rows"),
        DELIMITER,
        *tokenizer.encode("the hills"),
        EXTRACT,
    ]


def test_a_span_is_looked_for_behind_its_question(tokenizer, layout):
    context = "Ann rows a boat."
    (window,) = inputs(
        "span", Span(context=context, question="Who rows?", answers=((0, "Ann"),)), tokenizer, layout
    )
    question = tokenizer.encode("Who rows?")

    assert list(window.ids) == [START, *question, DELIMITER, *tokenizer.encode(context), EXTRACT]
    assert window.first == len(question) + 2 and window.answer[0] == window.first
    assert window.text(context, *window.answer) == "Ann"
    assert window.text(context, window.first, len(window.ids) - 2) == context


def test_the_special_ids_follow_on_the_vocabulary():
    assert Layout.behind(40_478, 512) == Layout(start=40_478, delimiter=40_479, extract=40_480, n_ctx=512)


def test_all_tokens_but_the_first_are_targets_of_the_auxiliary_loss(tokenizer, layout):
    (sequence,) = inputs("entailment", Pair(first="Ann", second="Bob"), tokenizer, layout)

    assert sequence.targets == (False, *[True] * (len(sequence.ids) - 1))
    assert sequence.extract == len(sequence.ids) - 1 and sequence.ids[sequence.extract] == EXTRACT


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=4), st.integers(0, 80))
def test_room_is_shared_so_that_nobody_could_have_more_without_another_of_no_more_having_less(lengths, room):
    kept = shares(lengths, room)

    assert all(0 <= part <= length for part, length in zip(kept, lengths, strict=True))
    assert sum(kept) == min(sum(lengths), room)
    cut = [part for part, length in zip(kept, lengths, strict=True) if part < length]
    assert not cut or max(kept) <= min(cut) + 1


@settings(deadline=None, max_examples=50)
@given(TEXTS, TEXTS, st.integers(6, 60))
def test_pairs_of_any_length_fit_with_all_their_special_tokens(tokenizer, first, second, n_ctx):
    layout = Layout.behind(tokenizer.vocab_size, n_ctx)
    whole = [tokenizer.encode(first), tokenizer.encode(second)]
    for kind, orders in (("entailment", 1), ("similarity", 2)):
        found = inputs(kind, Pair(first=first, second=second), tokenizer, layout)
        assert len(found) == orders
        for sequence, (one, other) in zip(found, (whole, whole[::-1]), strict=False):
            middle = sequence.ids.index(DELIMITER)
            head, tail = list(sequence.ids[1:middle]), list(sequence.ids[middle + 1 : -1])
            assert sequence.ids[0] == START and sequence.ids[-1] == EXTRACT and len(sequence.ids) <= n_ctx
            assert head == one[: len(head)] and tail == other[: len(tail)]
            assert sequence.cut == len(one) + len(other) - len(head) - len(tail)
            assert not sequence.cut or len(sequence.ids) == n_ctx


@settings(deadline=None, max_examples=50)
@given(TEXTS, TEXTS, st.lists(TEXTS, min_size=2, max_size=4), st.integers(8, 60))
def test_choices_of_any_length_fit_and_their_passage_is_cut_alike(
    tokenizer, context, question, answers, n_ctx
):
    layout = Layout.behind(tokenizer.vocab_size, n_ctx)
    example = Choice(context=context, question=question, answers=tuple(answers))

    found = inputs("choice", example, tokenizer, layout)

    assert len(found) == len(answers)
    assert len({sequence.ids[: sequence.ids.index(DELIMITER)] for sequence in found}) == 1
    for sequence, answer in zip(found, answers, strict=True):
        place = sequence.ids.index(DELIMITER)
        tail = list(sequence.ids[place + 1 : -1])
        asked = len(tokenizer.encode(f" {question}")) if question else 0
        whole = len(tokenizer.encode(context)) + asked + len(tokenizer.encode(answer))
        assert sequence.ids[0] == START and sequence.ids[-1] == EXTRACT and len(sequence.ids) <= n_ctx
        assert tail == tokenizer.encode(answer)[: len(tail)]
        assert sequence.cut == whole - (place - 1) - len(tail)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.sampled_from(["Ann", "boat,", "(wet)", "naïve"]), min_size=1, max_size=60), TEXTS, st.data()
)
def test_every_short_answer_lies_in_a_window_and_is_read_back(tokenizer, words, question, data):
    context = " ".join(words)
    first = data.draw(st.integers(0, len(words) - 1))
    answer = words[first].strip(",()")
    start = len(" ".join(words[:first])) + (first > 0) + words[first].index(answer)
    layout = Layout.behind(tokenizer.vocab_size, 64)

    windows = inputs(
        "span", Span(context=context, question=question, answers=((start, answer),)), tokenizer, layout
    )

    assert all(len(window.ids) <= 64 and window.ids[-1] == EXTRACT for window in windows)
    assert {place for window in windows for place in window.characters} >= {(start, start + len(answer))}
    found = [window.text(context, *window.answer) for window in windows if window.answer]
    assert found and set(found) == {answer}


def test_an_answer_longer_than_any_window_is_in_none(tokenizer):
    context = "Ann rows a boat and " * 20
    example = Span(context=context, question="Who?", answers=((0, context.strip()),))

    assert all(
        window.answer is None
        for window in inputs("span", example, tokenizer, Layout.behind(tokenizer.vocab_size, 32))
    )


@pytest.mark.parametrize("n_ctx", [1, 3])
def test_a_context_without_room_for_a_text_is_refused(tokenizer, n_ctx):
    with pytest.raises(ValueError, match=f"a context of {n_ctx} tokens is too short"):
        inputs("entailment", Pair(first="Ann", second="Bob"), tokenizer, Layout.behind(300, n_ctx))


def test_gpt2_has_the_ids_of_its_published_vocabulary():
    (sequence,) = inputs("classification", Text(text="Hello world"), gpt2(), Layout.behind(50_257, 1024))

    assert sequence.ids == (50_257, 15496, 995, 50_259)
