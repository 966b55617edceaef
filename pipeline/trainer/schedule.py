"""The learning rate as a function of the tokens seen: linear warm-up, then cosine, linear or WSD.

The rate of a step is taken in the middle of its tokens, so neither the first nor the last step is lost.
"""

import math
from collections.abc import Callable
from types import MappingProxyType
from typing import Literal

import pydantic

from pipeline.config import Schema, identity

Shape = Literal["cosine", "linear", "wsd"]


class Schedule(Schema):
    """`warmup_tokens` rise from zero to the peak; then the shape falls to `final_lr_fraction` of it.

    wsd (warm-up, stable, decay; Hu et al. 2024) stays at the peak and falls linearly over the last
    `decay_tokens`.
    """

    kind: Shape = identity("cosine", description="shape after the warm-up")
    warmup_tokens: int = identity(0, ge=0, description="tokens of linear warm-up")
    final_lr_fraction: float = identity(0.1, ge=0, le=1, description="last rate over the peak")
    decay_tokens: int | None = identity(None, ge=0, description="wsd: tokens of decay at the end")

    @pydantic.model_validator(mode="after")
    def _decay_belongs_to_wsd(self) -> "Schedule":
        if (self.decay_tokens is not None) != (self.kind == "wsd"):
            raise ValueError(f"decay_tokens is needed by kind: wsd and by no other, but kind is {self.kind}")
        return self

    def at(self, tokens: float, train_tokens: int, peak_lr: float) -> float:
        """Return the learning rate after a number of tokens."""
        if tokens < self.warmup_tokens:
            return peak_lr * tokens / self.warmup_tokens
        start = train_tokens - self.decay_tokens if self.decay_tokens is not None else self.warmup_tokens
        left = max(train_tokens - start, 1)
        progress = min(max((tokens - start) / left, 0.0), 1.0)
        fraction = _SHAPES[self.kind](progress)
        return peak_lr * (self.final_lr_fraction + (1 - self.final_lr_fraction) * fraction)


# From 1 at the start of the decay to 0 at its end.
_SHAPES: MappingProxyType[Shape, Callable[[float], float]] = MappingProxyType(
    {
        "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
        "linear": lambda progress: 1 - progress,
        "wsd": lambda progress: 1 - progress,
    }
)
