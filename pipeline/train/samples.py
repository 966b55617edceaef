"""Texts drawn from the model while it trains, from the same beginnings every time.

Drawn through the engine, so a sharded model writes too. It has no cache of keys and values: each id costs a
pass over the whole text, which is cheap for a few short ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.config import Schema, execution
from pipeline.trainer.tracker import SAMPLE

if TYPE_CHECKING:
    import torch

    from model.tokenizer import Tokenizer
    from pipeline.trainer.engine import Engine
    from pipeline.trainer.steps import Step


class Samples(Schema):
    """`every_steps` 0 draws none. An empty prompt stands for the beginning of a document."""

    every_steps: int = execution(0, ge=0, description="steps between samples; the last has one too")
    prompts: list[str] = execution([""], min_length=1, description="what each sample begins with")
    tokens: int = execution(40, ge=1, description="tokens of each sample at most")
    temperature: float = execution(1.0, ge=0, description="of the draw; 0 takes the likeliest token")
    top_k: int | None = execution(40, ge=1, description="draw from the likeliest k; null for all")


class SampleWriter:
    """Draws the samples of a step: the same on every rank, whatever training drew before.

    `context_tokens` is the length of the windows trained on; a prompt too long for it loses its beginning.
    """

    def __init__(self, samples: Samples, tokenizer: Tokenizer, context_tokens: int, seed: int):
        self._samples, self._tokenizer, self._seed = samples, tokenizer, seed
        self._tokens = min(samples.tokens, context_tokens - 1)
        self._room = context_tokens - self._tokens

    def rows(self, engine: Engine, step: Step) -> list[dict[str, Any]]:
        """Return a row for each prompt, for metrics.jsonl; none where the step is not due; collective."""
        if not (self._samples.every_steps and step.is_every(self._samples.every_steps)):
            return []
        texts = map(self._tokenizer.decode, map(self._until_end, self._draw(engine, step.number)))
        return [
            {"step": step.number, "event": SAMPLE, "number": number, "prompt": prompt, "text": text}
            for number, (prompt, text) in enumerate(zip(self._samples.prompts, texts, strict=True))
        ]

    def _draw(self, engine: Engine, step: int) -> list[list[int]]:
        """Return the ids after each prompt; torch's own generators are left alone."""
        import torch

        from model.generate import Sampling, choose

        sampling = Sampling(temperature=self._samples.temperature, top_k=self._samples.top_k)
        prompts = [self._encode(prompt) for prompt in self._samples.prompts]
        draws = [_generator(self._seed, step, number) for number in range(len(prompts))]
        # Of full length from the start, so that one shape is compiled; causal attention sees nothing beyond.
        length = max(map(len, prompts)) + self._tokens
        ids = torch.tensor([prompt + [0] * (length - len(prompt)) for prompt in prompts])  # (B, T)
        rows, ends = torch.arange(len(prompts)), torch.tensor([len(prompt) for prompt in prompts])
        # No text ends the loop: a rank that drew otherwise, by a rounding, must not leave the others waiting.
        for end in (ends + count for count in range(self._tokens)):
            logits = _logits(engine, ids)[rows, end - 1].float()  # (B, V)
            uniform = torch.stack([torch.rand((), generator=draw) for draw in draws])
            ids[rows, end] = choose(logits, sampling, uniform.to(logits.device)).cpu()
        found = zip(ids.tolist(), prompts, strict=True)
        return [row[len(prompt) : len(prompt) + self._tokens] for row, prompt in found]

    def _encode(self, prompt: str) -> list[int]:
        return [self._tokenizer.eot_id, *self._tokenizer.encode(prompt)][-self._room :]

    def _until_end(self, ids: Sequence[int]) -> Sequence[int]:
        end = self._tokenizer.eot_id
        return ids[: ids.index(end)] if end in ids else ids


def _logits(engine: Engine, ids: torch.Tensor) -> torch.Tensor:
    """Return the logits (B, T, V) of ids (B, T)."""
    import torch

    from pipeline.trainer.engine import NO_TARGET, Tokens

    return engine.predict(Tokens(ids, torch.full_like(ids, NO_TARGET)))


def _generator(seed: int, step: int, number: int) -> torch.Generator:
    import torch

    return torch.Generator().manual_seed(((seed * 1_000_003 + step) * 1_000_003 + number) % (1 << 63))
