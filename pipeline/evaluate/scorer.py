"""Answers requests with a model: sorted by length, batched to a token budget, logits only where needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from model.generate import Sampling, generate
from model.heads import token_losses
from model.transformer import GPT
from pipeline.evaluate.task import Generation, LogLikelihood, Reply, Request

R = TypeVar("R", bound=Request)

LOGITS_ROWS = 1024
"""Rows whose logits are held at once to see which id is the likeliest."""


class Scorer:
    """A model with a budget of tokens for each pass; answers do not depend on the budget but for rounding."""

    def __init__(self, model: GPT, batch_tokens: int):
        self._model, self._batch_tokens = model.eval(), batch_tokens
        self._device = model.wte.weight.device

    def answer(self, requests: Sequence[Request]) -> list[Reply]:
        """Return the reply to each request, in their order."""
        replies: dict[int, Reply] = {}
        likelihoods = [
            (n, request) for n, request in enumerate(requests) if isinstance(request, LogLikelihood)
        ]
        for batch in self._batches(likelihoods, _input_tokens):
            replies |= zip(
                (n for n, _ in batch), self._likelihoods([request for _, request in batch]), strict=True
            )
        generations = [(n, request) for n, request in enumerate(requests) if isinstance(request, Generation)]
        for _, alike in groupby(
            sorted(generations, key=lambda item: repr(_drawing(item[1]))), lambda item: _drawing(item[1])
        ):
            for written in self._batches(list(alike), _total_tokens):
                replies |= zip(
                    (n for n, _ in written),
                    self._generations([request for _, request in written]),
                    strict=True,
                )
        return [replies[n] for n in range(len(requests))]

    def _batches(
        self, numbered: Sequence[tuple[int, R]], size: Callable[[R], int]
    ) -> Iterator[list[tuple[int, R]]]:
        """Yield batches of like length, longest first: what does not fit fails at once."""
        batch: list[tuple[int, R]] = []
        for item in sorted(numbered, key=lambda item: -size(item[1])):
            if batch and (len(batch) + 1) * size(batch[0][1]) > self._batch_tokens:
                yield batch
                batch = []
            batch.append(item)
        if batch:
            yield batch

    @torch.no_grad()
    def _likelihoods(self, requests: Sequence[LogLikelihood]) -> list[Reply]:
        longest = max(map(_input_tokens, requests))
        # Padding stands on the right, where causal attention never looks.
        inputs = [(request.context + request.target)[:-1] for request in requests]
        ids = torch.tensor(
            [ids + (0,) * (longest - len(ids)) for ids in inputs], device=self._device
        )  # (B, T)
        hidden = self._model.hidden(ids)  # (B, T, C)
        places = [
            (row, len(request.context) - 1 + offset)
            for row, request in enumerate(requests)
            for offset in range(len(request.target))
        ]
        rows, columns = torch.tensor(places, device=self._device).unbind(1)
        states = hidden[rows, columns]  # (N, C)
        targets = torch.tensor([id for request in requests for id in request.target], device=self._device)
        nats = token_losses(states, self._model.wte.weight, targets).tolist()
        hits = self._hits(requests, states, targets)
        return list(_split(requests, nats, hits))

    def _hits(self, requests: Sequence[LogLikelihood], states: Tensor, targets: Tensor) -> list[bool]:
        """Return whether each target (N,) is the likeliest; False where nobody asked."""
        asked = torch.tensor(
            [request.greedy for request in requests for _ in request.target], device=self._device
        )
        hits = torch.zeros_like(targets, dtype=torch.bool)
        for part in torch.split(asked.nonzero().squeeze(1), LOGITS_ROWS):
            hits[part] = F.linear(states[part], self._model.wte.weight).argmax(-1) == targets[part]
        return [bool(hit) for hit in hits.tolist()]

    def _generations(self, requests: Sequence[Generation]) -> list[Reply]:
        first = requests[0]
        written = generate(
            self._model,
            [request.prompt for request in requests],
            max_new_tokens=first.max_new_tokens,
            sampling=Sampling(temperature=first.temperature, top_k=first.top_k, top_p=first.top_p),
            generators=[torch.Generator().manual_seed(request.seed) for request in requests],
            stop_ids=first.stop_ids,
        )
        return [Reply(ids=tuple(ids)) for ids in written]


def _split(requests: Sequence[LogLikelihood], nats: Sequence[float], hits: Sequence[bool]) -> Iterator[Reply]:
    start = 0
    for request in requests:
        end = start + len(request.target)
        yield Reply(nats=tuple(nats[start:end]), greedy=all(hits[start:end]) if request.greedy else None)
        start = end


def _input_tokens(request: LogLikelihood) -> int:
    return len(request.context) + len(request.target) - 1


def _total_tokens(request: Generation) -> int:
    return len(request.prompt) + request.max_new_tokens


def _drawing(request: Generation) -> tuple[object, ...]:
    """Return what requests must share to be written side by side."""
    return request.max_new_tokens, request.temperature, request.top_k, request.top_p, request.stop_ids
