"""Loss on held-out windows while a run trains, with its standard error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.train.batches import Form
from pipeline.train.sampler import Windows
from pipeline.trainer.engine import Engine


@dataclass(frozen=True)
class Validated:
    """Nats per token and bits per byte of text; `stderr` is the loss's, None with fewer than two passes."""

    loss: float
    stderr: float | None
    bits_per_byte: float | None
    tokens: int


class Validation:
    """The first windows of a split, in order, spread over the processes: the same windows at any world size.

    `byte_lengths` are the bytes of text of each id (V,), None where not every token is predicted; `form`
    makes a batch of windows, `term` is the loss that is told. A pass of neighbouring windows is one
    observation, so the standard error allows for the likeness of text that stands together.
    """

    def __init__(
        self,
        windows: Windows,
        tokens: int | None,
        rows: int,
        rank: int,
        world_size: int,
        byte_lengths: list[int] | None,
        form: Form,
        term: str,
    ):
        wanted = windows.count if tokens is None else max(tokens // windows.sequence_tokens, 1)
        self._windows, self._count = windows, min(wanted, windows.count)
        self._rows, self._rank, self._world_size = rows, rank, world_size
        self._form, self._term, self._has_bytes = form, term, byte_lengths is not None
        self._byte_lengths: npt.NDArray[np.int64] = np.asarray(byte_lengths or [0], dtype=np.int64)

    def run(self, engine: Engine, interrupted: Callable[[], bool]) -> Validated | None:
        """Return the loss on the windows, or None if `interrupted` said so on the way; collective."""
        sums, counts, text_bytes = [], [], 0
        wide = self._rows * self._world_size
        for start in range(0, self._count, wide):
            if interrupted():
                return None
            numbers = np.arange(start, min(start + wide, self._count))
            windows = self._windows.read(numbers)
            if self._has_bytes:
                text_bytes += int(self._byte_lengths[windows[:, 1:]].sum())
            mine = slice(self._rank, None, self._world_size)
            batch = self._form(windows[mine], self._rows, numbers[mine])
            loss = engine.loss(batch)[self._term]
            sums.append(loss.sum)
            counts.append(loss.count)
        mean, stderr = mean_of_ratios(sums, counts)
        bits = sum(sums) / math.log(2) / text_bytes if text_bytes else None
        return Validated(loss=mean, stderr=stderr, bits_per_byte=bits, tokens=sum(counts))


def mean_of_ratios(sums: list[float], counts: list[int]) -> tuple[float, float | None]:
    """Return sum over count and its standard error, the pairs being independent clusters.

    The error is that of a ratio estimator (Cochran, Sampling Techniques, 1977, section 6.4).
    """
    total = sum(counts)
    mean = sum(sums) / total
    clusters = len(sums)
    if clusters < 2:
        return mean, None
    residuals = [value - mean * count for value, count in zip(sums, counts, strict=True)]
    variance = sum(residual**2 for residual in residuals) * clusters / (clusters - 1)
    return mean, math.sqrt(variance) / total
