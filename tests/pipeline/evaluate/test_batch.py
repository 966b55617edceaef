"""Requests as they are computed: nothing lost, nothing twice, within the budget, beginnings shared."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluate.batch import Generations, Likelihoods, Row, batches
from pipeline.evaluate.task import Generation, LogLikelihood

IDS = st.lists(st.integers(0, 2), min_size=1, max_size=12).map(tuple)
LIKELIHOODS = st.builds(LogLikelihood, context=IDS, target=IDS)
GENERATIONS = st.builds(Generation, prompt=IDS, max_new_tokens=st.integers(1, 4), seed=st.integers(0, 3))


def choices(count=10, shared=100, own=10):
    passage = tuple(range(shared))
    return [LogLikelihood(context=passage, target=(1000 + n, *range(own - 1))) for n in range(count)]


def rows(requests, batch_tokens=10_000, row_tokens=10_000):
    return [
        row
        for batch in batches(requests, batch_tokens, row_tokens)
        if isinstance(batch, Likelihoods)
        for row in batch.rows
    ]


@given(st.lists(LIKELIHOODS | GENERATIONS, max_size=20), st.integers(1, 60), st.integers(1, 60))
def test_every_request_is_in_one_batch(requests, batch_tokens, row_tokens):
    found = batches(requests, batch_tokens, row_tokens)

    assert sorted(number for batch in found for number in batch.numbers) == list(range(len(requests)))


@given(st.lists(LIKELIHOODS | GENERATIONS, max_size=20), st.integers(1, 60), st.integers(1, 60))
def test_batches_keep_to_the_budget(requests, batch_tokens, row_tokens):
    for batch in batches(requests, batch_tokens, row_tokens):
        sizes = (
            [row.tokens for row in batch.rows]
            if isinstance(batch, Likelihoods)
            else [len(request.prompt) + request.max_new_tokens for _, request in batch.requests]
        )
        assert len(sizes) == 1 or max(sizes) * len(sizes) <= batch_tokens
        if isinstance(batch, Likelihoods):
            assert all(row.is_plain or row.tokens <= row_tokens for row in batch.rows)
            assert len({row.is_plain for row in batch.rows}) == 1


@given(st.lists(LIKELIHOODS, min_size=1, max_size=8))
def test_a_row_holds_each_request_whole_and_in_its_place(requests):
    for row in rows(requests):
        ids, positions, owners = row.ids(), row.positions(), row.owners()
        places = iter(row.places())
        assert len(ids) == len(positions) == len(owners) == row.tokens
        for member, (_, request) in enumerate(row.members, start=1):
            mine = [column for column in range(row.tokens) if owners[column] in (0, member)]
            whole = (request.context + request.target)[:-1]
            assert tuple(ids[column] for column in mine) == whole
            assert [positions[column] for column in mine] == list(range(len(whole)))
            first = len(request.context) - 1
            assert [next(places) for _ in request.target] == mine[first:]


def test_what_choices_share_is_computed_once():
    (row,) = rows(choices())

    assert (row.shared, row.tokens) == (100, 100 + 10 * 9)


def test_choices_of_two_questions_do_not_mix():
    other = [
        LogLikelihood(context=tuple(range(500, 590)), target=each.target[:n])
        for n, each in enumerate(choices(), 1)
    ]
    mixed = [each for pair in zip(choices(), other, strict=True) for each in pair]

    assert sorted(row.shared for row in rows(mixed)) == [90, 100]


def test_texts_that_hardly_begin_alike_are_computed_apart():
    apart = [LogLikelihood(context=(0, 0, n), target=tuple(range(30))) for n in range(4)]

    assert all(row.is_plain for row in rows(apart))


def test_a_row_ends_where_its_mask_would_be_too_large():
    assert [len(row.members) for row in rows(choices(), row_tokens=140)] == [4, 4, 2]


def test_texts_drawn_in_another_way_are_written_apart():
    asked = [
        Generation(prompt=(1,), max_new_tokens=2, seed=n, temperature=n % 2, stop=("\n",) * (n % 3))
        for n in range(6)
    ]

    found = batches(asked, 1000, 1000)

    assert [type(batch) for batch in found] == [Generations, Generations]
    assert sorted(batch.numbers for batch in found) == [[0, 2, 4], [1, 3, 5]]


def test_a_lone_request_is_a_plain_row():
    request = LogLikelihood(context=(5,), target=(6, 7))

    assert rows([request]) == [Row(((0, request),), shared=2)]
