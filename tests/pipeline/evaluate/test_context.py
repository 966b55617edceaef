"""Contexts and targets that do not fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.evaluate.context import check_room, fitted, nats_of, open_question, windows
from pipeline.evaluate.task import LogLikelihood, Reply


def test_a_context_keeps_its_end_and_one_id_at_least():
    assert fitted([1, 2, 3, 4], after=2, n_ctx=8) == (1, 2, 3, 4)
    assert fitted([1, 2, 3, 4], after=2, n_ctx=4) == (3, 4)
    assert fitted([1, 2, 3, 4], after=9, n_ctx=4) == (4,)


@given(st.integers(1, 12), st.integers(1, 40), st.integers(1, 12))
def test_every_id_of_a_target_is_asked_once_within_the_context_and_never_without_one(before, count, n_ctx):
    context = fitted(range(before), count - 1, n_ctx)
    target = range(100, 100 + count)
    stream = (*context, *target)
    asked = windows(context, target, n_ctx)

    assert [id for request in asked for id in request.target] == list(target)
    assert len(asked) == 1 or len(context) + count - 1 > n_ctx
    end = len(context)
    for request in asked:
        assert request.context and request.target
        assert stream[end - len(request.context) : end] == request.context
        assert len(request.context) + len(request.target) - 1 <= n_ctx
        end += len(request.target)


def test_the_nats_of_windows_are_strung_together():
    asked = windows((0,), (1, 2, 3, 4, 5), n_ctx=4)
    replies = iter([Reply(nats=(0.5,) * len(request.target)) for request in asked] + [Reply(nats=(9.0,))])

    assert nats_of(replies, asked) == [0.5] * 5
    assert next(replies).nats == (9.0,)


def test_a_question_leaves_room_for_the_answer_and_for_the_reference():
    asked = open_question(range(10), [20, 21], max_new_tokens=4, n_ctx=8)

    assert (asked.prompt, asked.cut) == ((6, 7, 8, 9), True)
    assert asked.reference == (LogLikelihood(context=tuple(range(3, 10)), target=(20, 21)),)
    assert not open_question(range(4), [20, 21], max_new_tokens=4, n_ctx=8).cut


def test_answers_as_long_as_the_context_are_refused():
    check_room("coqa", 63, 64)
    with pytest.raises(
        ConfigError, match=r"coqa: max_new_tokens is 64, which leaves nothing of n_ctx \(64\)"
    ):
        check_room("coqa", 64, 64)
