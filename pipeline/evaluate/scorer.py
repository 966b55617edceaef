"""Answers requests with a model: batched by `batch`, logits only where they are scored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from model.generate import Sampling, generate
from model.heads import token_losses
from model.tokenizer import Tokenizer
from model.transformer import GPT
from pipeline.errors import ConfigError
from pipeline.evaluate.batch import Batch, Generations, Likelihoods, Row, batches
from pipeline.evaluate.task import Generation, LogLikelihood, Reply, Request
from pipeline.evaluate.text import ReplyText

LOGITS_ROWS = 1024
"""Rows whose logits are held at once to see which id is the likeliest."""

ROW_CONTEXTS = 2
"""Contexts that a row of requests with one beginning may be long: its mask grows by the square."""


class Scorer:
    """A model with a budget of tokens for each pass; answers do not depend on the budget but for rounding.

    Without its tokenizer, replies have no text and know no stop strings.
    """

    def __init__(self, model: GPT, batch_tokens: int, tokenizer: Tokenizer | None = None):
        self._model, self._batch_tokens, self._tokenizer = model.eval(), batch_tokens, tokenizer
        self._device = model.wte.weight.device

    def answer(self, requests: Sequence[Request]) -> list[Reply]:
        """Return the reply to each request, in their order; ValueError for one too long for the context."""
        formed = self.batches(requests)
        return in_order(formed, map(self.answer_batch, formed))

    def batches(self, requests: Sequence[Request]) -> list[Batch]:
        """Return requests as they are computed, side by side."""
        for request in requests:
            self._check(request)
        shape = self._model.config
        # A recurrence reads all that stands before: in a row of several it would read another request's ids.
        contexts = 0 if shape.architecture == "lstm" else ROW_CONTEXTS
        return batches(requests, self._batch_tokens, contexts * shape.n_ctx)

    def answer_batch(self, batch: Batch) -> list[Reply]:
        """Return the replies to a batch, in the order of its `numbers`."""
        return self._likelihoods(batch) if isinstance(batch, Likelihoods) else self._generations(batch)

    def _check(self, request: Request) -> None:
        if isinstance(request, Generation):
            if self._model.config.architecture == "lstm":
                raise ConfigError("tasks: an LSTM writes no text here; leave out those that have it write")
            if request.stop and self._tokenizer is None:
                raise ValueError("a request has stop strings; give the scorer its model's tokenizer")
            return  # the lengths are checked where texts are written
        ids, n_ctx = len(request.context) + len(request.target) - 1, self._model.config.n_ctx
        if not request.context or not request.target or ids > n_ctx:
            raise ValueError(
                f"a context of {len(request.context)} and a target of {len(request.target)} ids, but both "
                f"take one at least, and together one more than the context of {n_ctx} at most"
            )

    @torch.no_grad()
    def _likelihoods(self, batch: Likelihoods) -> list[Reply]:
        hidden = self._hidden(batch.rows)  # (B, T, C)
        places = [(number, place) for number, row in enumerate(batch.rows) for place in row.places()]
        rows, columns = torch.tensor(places, device=self._device).unbind(1)
        states = hidden[rows, columns]  # (N, C)
        requests = [request for row in batch.rows for _, request in row.members]
        targets = torch.tensor([id for request in requests for id in request.target], device=self._device)
        nats = token_losses(states, self._model.wte.weight, targets).tolist()
        likeliest = iter(self._likeliest(requests, states))
        replies, start = [], 0
        for request in requests:
            end = start + len(request.target)
            replies.append(_reply_to(request, tuple(nats[start:end]), likeliest))
            start = end
        return replies

    def _hidden(self, rows: Sequence[Row]) -> Tensor:
        """Return the states (B, T, C) of rows; padding stands on the right, where nobody looks."""
        ids = self._padded([row.ids() for row in rows])  # (B, T)
        if all(row.is_plain for row in rows):
            return self._model.hidden(ids)
        owners = self._padded([row.owners() for row in rows], with_value=-1)
        # An id sees those before it that all share or that are of its own request.
        seen = (owners.unsqueeze(1) == 0) | (owners.unsqueeze(1) == owners.unsqueeze(2))  # (B, T, T)
        positions = self._padded([row.positions() for row in rows])
        return self._model.hidden(ids, positions, seen.tril().unsqueeze(1))

    def _padded(self, sequences: Sequence[list[int]], with_value: int = 0) -> Tensor:
        """Return sequences of ids as one tensor (B, T)."""
        longest = max(map(len, sequences))
        padded = [each + [with_value] * (longest - len(each)) for each in sequences]
        return torch.tensor(padded, device=self._device)

    def _likeliest(self, requests: Sequence[LogLikelihood], states: Tensor) -> list[int]:
        """Return the likeliest ids of the states (N, C) of every request that asks for them.

        Behind those of a request with ids to be passed over comes the likeliest of the others at its first
        place.
        """
        asked: list[int] = []
        passed_over: dict[int, tuple[int, ...]] = {}
        start = 0
        for request in requests:
            end = start + len(request.target)
            asked += range(start, end) if request.greedy else ()
            if request.greedy and request.without:
                passed_over[len(asked)] = request.without
                asked.append(start)
            start = end
        found: list[int] = []
        for first in range(0, len(asked), LOGITS_ROWS):
            part = torch.tensor(asked[first : first + LOGITS_ROWS], device=self._device)
            logits = F.linear(states[part], self._model.wte.weight)
            for row, without in passed_over.items():
                if first <= row < first + len(part):
                    logits[row - first, list(without)] = -torch.inf
            found += logits.argmax(-1).tolist()
        return found

    def _generations(self, batch: Generations) -> list[Reply]:
        requests = [request for _, request in batch.requests]
        texts = [ReplyText(request.stop) for request in requests]
        first = requests[0]

        def ended(number: int, id: int) -> bool:
            if self._tokenizer is not None and requests[number].stop:
                texts[number].add(self._tokenizer.decode_bytes([id]))
            return texts[number].over

        written = generate(
            self._model,
            [request.prompt for request in requests],
            max_new_tokens=first.max_new_tokens,
            sampling=Sampling(temperature=first.temperature, top_k=first.top_k, top_p=first.top_p),
            generators=[torch.Generator().manual_seed(request.seed) for request in requests],
            stop_ids=first.stop_ids,
            ended=ended,
        )
        replies = [self._reply(ids, text) for ids, text in zip(written, texts, strict=True)]
        return self._with_nats(requests, replies)

    def _reply(self, ids: list[int], text: ReplyText) -> Reply:
        """Return the ids written and their text, up to its stop string where one came up."""
        if self._tokenizer is None:
            return Reply(ids=tuple(ids))
        if not text.over:
            return Reply(ids=tuple(ids), text=self._tokenizer.decode(ids))
        before = text.take()
        while not before.startswith(self._tokenizer.decode(ids)):
            ids.pop()
        return Reply(ids=tuple(ids), text=before)

    def _with_nats(self, requests: Sequence[Generation], replies: Sequence[Reply]) -> list[Reply]:
        """Return the replies with the nats of their ids, where they are asked for and there are ids."""
        asked = {
            number: LogLikelihood(context=request.prompt, target=reply.ids)
            for number, (request, reply) in enumerate(zip(requests, replies, strict=True))
            if request.nats and reply.ids
        }
        nats = {
            number: reply.nats for number, reply in zip(asked, self.answer(list(asked.values())), strict=True)
        }
        return [replace(reply, nats=nats.get(number, ())) for number, reply in enumerate(replies)]


def in_order(formed: Sequence[Batch], replies: Iterable[Sequence[Reply]]) -> list[Reply]:
    """Return the replies to batches in the order of the requests that these were formed of."""
    numbered = {
        number: reply
        for batch, answers in zip(formed, replies, strict=True)
        for number, reply in zip(batch.numbers, answers, strict=True)
    }
    return [numbered[number] for number in range(len(numbered))]


def _reply_to(request: LogLikelihood, nats: tuple[float, ...], likeliest: Iterator[int]) -> Reply:
    if not request.greedy:
        return Reply(nats=nats)
    ids = tuple(islice(likeliest, len(request.target)))
    instead = next(likeliest) if request.without else None
    return Reply(nats=nats, greedy=ids == request.target, likeliest=ids, instead=instead)
