"""What was measured along one abscissa: the mean of each size, the scatter of its seeds, and the noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.study.collect import Point, values_of


@dataclass(frozen=True, kw_only=True)
class Size:
    """One size as measured; in a law of data each amount of tokens is one."""

    rung: str
    params: int
    params_non_embedding: int
    tokens: int
    values: tuple[float, ...]
    seeds: tuple[int, ...]
    mean: float
    seed_sd: float | None
    stderr: float | None


@dataclass(frozen=True, kw_only=True)
class Noise:
    """How much one run scatters for reasons that have nothing to do with its size."""

    value: float | None
    source: str


def sizes(points: Sequence[Point], label: Callable[[Point], str], abscissa: str) -> list[Size]:
    """Return the sizes from small to large, with the scatter of their seeds and the mean error.

    `label` names the size of a point, `abscissa` is the column by which they are put in order.
    """
    grouped: dict[str, list[Point]] = {}
    for point in sorted(points, key=lambda p: (getattr(p, abscissa), p.seed)):
        grouped.setdefault(label(point), []).append(point)
    return [_size(rung, group) for rung, group in grouped.items()]


def noise(measured: Sequence[Size]) -> Noise:
    """Return the pooled standard deviation of seeds, or without repeats the evaluation's standard error."""
    repeated = [size for size in measured if len(size.values) > 1]
    freedom = sum(len(size.values) - 1 for size in repeated)
    if freedom:
        squares = sum((value - size.mean) ** 2 for size in repeated for value in size.values)
        return Noise(
            value=math.sqrt(squares / freedom),
            source=f"pooled standard deviation of seeds ({freedom} degree{'s' * (freedom > 1)} of freedom)",
        )
    errors = [size.stderr for size in measured if size.stderr]
    if errors:
        return Noise(
            value=max(errors), source="largest standard error of the evaluation; no seed was repeated"
        )
    return Noise(value=None, source="unknown: no seed was repeated and the evaluation gave no standard error")


def _size(rung: str, points: Sequence[Point]) -> Size:
    values = values_of(points)
    errors = [point.stderr for point in points if point.stderr is not None]
    first = points[0]
    return Size(
        rung=rung,
        params=first.params,
        params_non_embedding=first.params_non_embedding,
        tokens=first.tokens,
        values=tuple(map(float, values)),
        seeds=tuple(point.seed for point in points),
        mean=float(values.mean()),
        seed_sd=float(values.std(ddof=1)) if len(values) > 1 else None,
        stderr=float(np.mean(errors)) if errors else None,
    )
