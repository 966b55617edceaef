"""Text from a model, greedy or sampled, batched; with a cache of keys and values, so an id costs one step."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from model.transformer import GPT, LayerCache


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next id is chosen: temperature 0 is greedy, otherwise one is drawn from what `top_k` and
    `top_p` keep.

    `top_k` keeps the k likeliest ids; `top_p` the likeliest whose probabilities together reach p (Holtzman et
    al., 2020).
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature is {self.temperature}, but must not be negative")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k is {self.top_k}, but must be at least 1")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}, but must be above 0 and at most 1")


GREEDY = Sampling(temperature=0.0)

Ended = Callable[[int, int], bool]
"""Whether the reply to a prompt, by its number, is over with an id just drawn for it: asked once for each id,
in order, so that what decides may keep count. For what ids alone cannot tell, as a stop string does."""


def generate(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    sampling: Sampling = GREEDY,
    generators: Sequence[torch.Generator] | None = None,
    stop_ids: Collection[int] = (),
    ended: Ended | None = None,
) -> list[list[int]]:
    """Return the ids after each prompt, at most `max_new_tokens` and without the stop id that ended them, but
    with the id for which `ended` was true.
    """
    replies: list[list[int]] = [[] for _ in prompts]
    for step in stream(
        model,
        prompts,
        max_new_tokens=max_new_tokens,
        sampling=sampling,
        generators=generators,
        stop_ids=stop_ids,
        ended=ended,
    ):
        for reply, new in zip(replies, step, strict=True):
            reply.extend([] if new is None else [new])
    return replies


@torch.no_grad()
def stream(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    sampling: Sampling = GREEDY,
    generators: Sequence[torch.Generator] | None = None,
    stop_ids: Collection[int] = (),
    ended: Ended | None = None,
) -> Iterator[list[int | None]]:
    """Yield the next id of every prompt, None for those whose reply is over, until all are or the count is
    full.

    Each prompt has a generator of its own, on the CPU, so that what is drawn for it does not depend on its
    neighbours in the batch. Raises ValueError for an empty prompt, for one too long for the context, or for a
    model in training.
    """
    _check(model, prompts, max_new_tokens)
    draws = generators or [torch.Generator().manual_seed(index) for index in range(len(prompts))]
    running = [True] * len(prompts)
    batch = _Batch(model, prompts, max_new_tokens)
    states = batch.read_prompts()  # (B, C)
    for count in range(1, max_new_tokens + 1):
        logits = F.linear(states, model.wte.weight).float()  # (B, V)
        uniform = torch.stack([torch.rand((), generator=draw) for draw in draws])
        chosen = choose(logits, sampling, uniform.to(logits.device))
        ids = chosen.tolist()
        given = [new if on and new not in stop_ids else None for on, new in zip(running, ids, strict=True)]
        running = [new is not None and not (ended and ended(row, new)) for row, new in enumerate(given)]
        if any(new is not None for new in given):
            yield given
        if not any(running):
            return
        if count < max_new_tokens:
            states = batch.read(chosen)


def _check(model: GPT, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> None:
    if model.training and model.config.dropout:
        raise ValueError("the model is in training mode and would drop out; call model.eval() first")
    if not prompts or not all(prompts):
        raise ValueError("a prompt is empty; begin with the end-of-text id, as documents do")
    longest = max(map(len, prompts))
    if longest + max_new_tokens > model.config.n_ctx:
        raise ValueError(
            f"a prompt of {longest} ids and {max_new_tokens} new ones exceed the context of "
            f"{model.config.n_ctx}; shorten the prompt or ask for fewer"
        )


class _Batch:
    """Prompts of different lengths side by side: padded on the left, so that all grow at the same place."""

    def __init__(self, model: GPT, prompts: Sequence[Sequence[int]], max_new_tokens: int):
        device = model.wte.weight.device
        longest = max(map(len, prompts))
        padding = [longest - len(prompt) for prompt in prompts]
        padded = [[0] * pad + list(prompt) for pad, prompt in zip(padding, prompts, strict=True)]
        self._model = model
        self._ids = torch.tensor(padded, device=device)  # (B, T)
        self._padding = torch.tensor(padding, device=device).unsqueeze(1)  # (B, 1)
        self._ragged = any(padding)
        self._cache = [
            LayerCache(model.config, len(prompts), longest + max_new_tokens, model.wte.weight)
            for _ in model.h
        ]

    def read_prompts(self) -> Tensor:
        """Return the state after each prompt (B, C)."""
        T = self._ids.shape[1]
        place = torch.arange(T, device=self._ids.device)
        causal = place <= place.unsqueeze(1)  # (T, T)
        # A padded place sees itself, because a row that sees nothing would be NaN; nobody sees it.
        visible = (place >= self._padding).unsqueeze(1) | torch.eye(T, dtype=torch.bool, device=place.device)
        mask = (causal & visible).unsqueeze(1)  # (B, 1, T, T)
        positions = (place - self._padding).clamp(min=0)
        return self._model.hidden(self._ids, positions, mask, self._cache)[:, -1]

    def read(self, ids: Tensor) -> Tensor:
        """Return the state after one more id for each prompt (B, C)."""
        filled = self._cache[0].filled
        place = torch.arange(filled + 1, device=ids.device)
        mask = (place >= self._padding).view(len(ids), 1, 1, -1) if self._ragged else None
        return self._model.hidden(ids.unsqueeze(1), filled - self._padding, mask, self._cache)[:, -1]


def choose(logits: Tensor, sampling: Sampling, uniform: Tensor) -> Tensor:
    """Return an id (B,) for each row of logits (B, V): the likeliest, or the one at a uniform draw (B,)."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
    ordered, ids = (logits / sampling.temperature).sort(dim=-1, descending=True, stable=True)
    probabilities = ordered[:, : sampling.top_k].softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    if sampling.top_p is not None:
        probabilities = probabilities.where(before < sampling.top_p, 0.0)
    cumulative = probabilities.cumsum(-1)
    place = torch.searchsorted(cumulative, uniform.unsqueeze(1) * cumulative[:, -1:], right=True)
    # A draw of almost 1 may round to the whole sum, past the last id kept.
    last_kept = (probabilities > 0).sum(-1, keepdim=True) - 1
    return ids.gather(1, place.minimum(last_kept)).squeeze(1)
