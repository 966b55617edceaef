"""Requests formed into batches: of like length, within a budget of tokens, what they share laid out once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

from pipeline.evaluate.task import Generation, LogLikelihood, Request

T = TypeVar("T")

Numbered = tuple[int, LogLikelihood]

SPARED = 4
"""A request joins a row if it spares at least this part of its ids: attention over a row is the slower."""


@dataclass(frozen=True)
class Row:
    """Requests whose inputs begin alike, in one sequence: the `shared` ids, then of each those of its own."""

    members: tuple[Numbered, ...]
    shared: int

    @property
    def tokens(self) -> int:
        """Ids of the sequence."""
        return self.shared + sum(_input_tokens(request) - self.shared for _, request in self.members)

    @property
    def is_plain(self) -> bool:
        """Whether this is one request, which needs no mask."""
        return len(self.members) == 1

    def ids(self) -> list[int]:
        """Return the ids of the sequence."""
        inputs = [_input(request) for _, request in self.members]
        return [*inputs[0][: self.shared], *(id for each in inputs for id in each[self.shared :])]

    def positions(self) -> list[int]:
        """Return the position of each id in its request."""
        own = [range(self.shared, _input_tokens(request)) for _, request in self.members]
        return [*range(self.shared), *(position for each in own for position in each)]

    def owners(self) -> list[int]:
        """Return whose each id is: 0 of all, n of the n-th member."""
        own = [_input_tokens(request) - self.shared for _, request in self.members]
        return [0] * self.shared + [number for number, count in enumerate(own, start=1) for _ in range(count)]

    def places(self) -> list[int]:
        """Return, for each target id of each member, where in the sequence it is predicted."""
        found, start = [], self.shared
        for _, request in self.members:
            first = len(request.context) - 1
            for place in range(first, first + len(request.target)):
                found.append(place if place < self.shared else start + place - self.shared)
            start += _input_tokens(request) - self.shared
        return found


@dataclass(frozen=True)
class Likelihoods:
    """Rows that are computed side by side; all plain, or none."""

    rows: tuple[Row, ...]

    @property
    def numbers(self) -> list[int]:
        """The numbers of the requests, in the order of the replies."""
        return [number for row in self.rows for number, _ in row.members]


@dataclass(frozen=True)
class Generations:
    """Texts that are written side by side; they are drawn alike but for their seeds."""

    requests: tuple[tuple[int, Generation], ...]

    @property
    def numbers(self) -> list[int]:
        """The numbers of the requests, in the order of the replies."""
        return [number for number, _ in self.requests]


Batch = Likelihoods | Generations


def batches(requests: Sequence[Request], batch_tokens: int, row_tokens: int) -> list[Batch]:
    """Return requests as batches of at most `batch_tokens` with padding, a single row apart.

    Requests share a row of at most `row_tokens` where that spares enough. Nothing but the arguments decides
    what is computed with what, so that replies are the same wherever a batch is computed.
    """
    numbered = list(enumerate(requests))
    rows = list(_rows([(n, each) for n, each in numbered if isinstance(each, LogLikelihood)], row_tokens))
    found: list[Batch] = []
    for is_plain in (False, True):
        alike = [row for row in rows if row.is_plain == is_plain]
        found += [Likelihoods(batch) for batch in _cut(alike, lambda row: row.tokens, batch_tokens)]
    written = [(n, each) for n, each in numbered if isinstance(each, Generation)]
    for _, group in groupby(sorted(written, key=lambda item: repr(_drawing(item[1]))), _drawing_of):
        found += [Generations(batch) for batch in _cut(list(group), _total_tokens, batch_tokens)]
    return found


def _rows(numbered: Sequence[Numbered], most: int) -> Iterator[Row]:
    """Yield rows of the requests, which stand beside those they share most with once they are sorted."""
    members: list[Numbered] = []
    last: tuple[int, ...] = ()
    shared = total = 0
    for item in sorted(numbered, key=lambda item: _input(item[1])):
        ids = _input(item[1])
        together = min(shared, _alike(last, ids)) if members else 0
        before = total - max(len(members) - 1, 0) * shared
        grown = total + len(ids) - len(members) * together
        if members and (grown > most or (grown - before) * SPARED > len(ids) * (SPARED - 1)):
            yield Row(tuple(members), shared)
            members, total = [], 0
        shared = together if members else len(ids)
        members.append(item)
        total, last = total + len(ids), ids
    if members:
        yield Row(tuple(members), shared)


def _cut(items: Sequence[T], size: Callable[[T], int], budget: int) -> Iterator[tuple[T, ...]]:
    """Yield batches of like size, the longest first: what does not fit a machine fails at once."""
    batch: list[T] = []
    for item in sorted(items, key=lambda item: -size(item)):
        if batch and (len(batch) + 1) * size(batch[0]) > budget:
            yield tuple(batch)
            batch = []
        batch.append(item)
    if batch:
        yield tuple(batch)


def _alike(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Return how many ids two sequences begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (left, right) in pairs if left != right), min(len(one), len(other)))


def _input(request: LogLikelihood) -> tuple[int, ...]:
    """Return the ids that the network reads: all but the last one, which it only predicts."""
    return (request.context + request.target)[:-1]


def _input_tokens(request: LogLikelihood) -> int:
    return len(request.context) + len(request.target) - 1


def _total_tokens(item: tuple[int, Generation]) -> int:
    return len(item[1].prompt) + item[1].max_new_tokens


def _drawing(request: Generation) -> tuple[object, ...]:
    """Return what requests must share to be written side by side."""
    return request.max_new_tokens, request.temperature, request.top_k, request.top_p, request.stop_ids


def _drawing_of(item: tuple[int, Generation]) -> tuple[object, ...]:
    return _drawing(item[1])
