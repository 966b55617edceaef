"""The learning rate as a function of the tokens seen: linear warm-up, then cosine, linear, WSD or GPT-1's.

The rate of a step is taken in the middle of its tokens, so neither the first nor the last step is lost.
"""

import math
from collections.abc import Callable
from types import MappingProxyType
from typing import Literal

import pydantic

from pipeline.config import Schema, identity

Shape = Literal["cosine", "linear", "wsd", "gpt1_cosine"]
Decay = Literal["linear", "1-sqrt"]


class Schedule(Schema):
    """`warmup_tokens` rise from zero to the peak; then the shape falls to `final_lr_fraction` of it.

    wsd (warm-up, stable, decay; Hu et al. 2024) stays at the peak and falls over the last `decay_tokens`:
    linearly, or as 1 - sqrt (Hägele et al. 2024, which llm.c uses).

    gpt1_cosine is a cosine over the whole horizon, warm-up included, as GPT-1's released code has it
    (`warmup_cosine` in opt.py): it is not re-based to begin where the warm-up ends, so the rate steps down
    there, from the peak to (1 + cos(π · warm-up / horizon)) / 2 of it.
    """

    kind: Shape = identity("cosine", description="shape after the warm-up")
    warmup_tokens: int = identity(0, ge=0, description="tokens of linear warm-up")
    final_lr_fraction: float = identity(0.1, ge=0, le=1, description="last rate over the peak")
    decay_tokens: int | None = identity(None, ge=0, description="wsd: tokens of decay at the end")
    decay_shape: Decay | None = identity(None, description="wsd: linear where not given")

    @pydantic.model_validator(mode="after")
    def _decay_belongs_to_wsd(self) -> "Schedule":
        if (self.decay_tokens is not None) != (self.kind == "wsd"):
            raise ValueError(f"decay_tokens is needed by kind: wsd and by no other, but kind is {self.kind}")
        if self.decay_shape is not None and self.kind != "wsd":
            raise ValueError(f"decay_shape belongs to kind: wsd, but kind is {self.kind}")
        return self

    def at(self, tokens: float, train_tokens: int, peak_lr: float) -> float:
        """Return the learning rate after a number of tokens."""
        if self.warmup_tokens and tokens <= self.warmup_tokens:
            return peak_lr * tokens / self.warmup_tokens
        start = self._start(train_tokens)
        progress = min(max((tokens - start) / max(train_tokens - start, 1), 0.0), 1.0)
        fraction = _SHAPES[self.decay_shape or _OWN_SHAPE[self.kind]](progress)
        return peak_lr * (self.final_lr_fraction + (1 - self.final_lr_fraction) * fraction)

    def _start(self, train_tokens: int) -> int:
        """Return the tokens at which the shape begins to fall."""
        if self.kind == "gpt1_cosine":
            return 0
        return self.warmup_tokens if self.decay_tokens is None else train_tokens - self.decay_tokens


# From 1 at the start of the decay to 0 at its end.
_SHAPES: MappingProxyType[str, Callable[[float], float]] = MappingProxyType(
    {
        "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
        "linear": lambda progress: 1 - progress,
        "1-sqrt": lambda progress: 1 - math.sqrt(progress),
    }
)
_OWN_SHAPE: MappingProxyType[Shape, str] = MappingProxyType(
    {"cosine": "cosine", "linear": "linear", "wsd": "linear", "gpt1_cosine": "cosine"}
)
