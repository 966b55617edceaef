"""The sizes of a study: named one by one, or from one dial, the depth, at a fixed aspect and head size."""

from __future__ import annotations

import pydantic

from model.config import GPTConfig, parameters_non_embedding
from pipeline.config import Schema, identity


class Shape(Schema):
    """A size of the ladder; what it leaves out comes from the training configuration."""

    n_layer: int = identity(ge=1)
    n_head: int = identity(ge=1)
    n_embd: int = identity(ge=1)


class Rung(Schema):
    """One size and the seeds it is trained with."""

    name: str = identity(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.]*$")
    model: Shape = identity()
    seeds: tuple[int, ...] = identity(min_length=1)

    @property
    def shape(self) -> dict[str, int]:
        """The keys of the size, as they lie over the training configuration's model."""
        return dict(self.model)


class Dial(Schema):
    """Sizes that differ by one number: n_embd = aspect * depth and n_head = n_embd / head_size.

    So width and depth grow together, and no head is wider than another; rungs are called d2, d3, …
    """

    depths: tuple[int, ...] = identity(min_length=1)
    aspect: int = identity(ge=1, description="width over depth")
    head_size: int = identity(ge=1)
    seeds: tuple[int, ...] = identity((0,), min_length=1)
    repeated_below: int | None = identity(
        None, ge=1, description="non-embedding parameters from which on the first seed alone is trained"
    )

    @pydantic.model_validator(mode="after")
    def _whole_heads(self) -> Dial:
        broken = [depth for depth in self.depths if depth < 1 or self.aspect * depth % self.head_size]
        if broken:
            raise ValueError(
                f"depths: {', '.join(map(str, broken))} at aspect {self.aspect} give no whole number of "
                f"heads of {self.head_size}; choose an aspect that is a multiple of it, or other depths"
            )
        return self

    def rungs(self) -> tuple[Rung, ...]:
        """Return the sizes with their seeds, counted as a GPT-2 of these shapes."""
        return tuple(self._rung(depth) for depth in self.depths)

    def _rung(self, depth: int) -> Rung:
        width = self.aspect * depth
        shape = Shape(n_layer=depth, n_head=width // self.head_size, n_embd=width)
        size = parameters_non_embedding(GPTConfig(**dict(shape)))
        is_repeated = self.repeated_below is None or size < self.repeated_below
        return Rung(name=f"d{depth}", model=shape, seeds=self.seeds if is_repeated else self.seeds[:1])
