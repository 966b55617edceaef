"""From the stream of windows to what an engine takes: this process's micro-batches of a step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from pipeline.train.plan import Plan
from pipeline.train.sampler import Order, Windows, pad, rows_of
from pipeline.trainer.engine import Batch


class Batches:
    """The training data as one process sees it.

    `eot_id` ends a document; given, attention is to stay inside documents. `pinned` memory lets a GPU copy
    while it computes.
    """

    def __init__(
        self, windows: Windows, order: Order, plan: Plan, rank: int, eot_id: int | None, pinned: bool
    ):
        self._windows, self._order, self._plan, self._rank = windows, order, plan, rank
        self._eot_id, self._pinned = eot_id, pinned
        self.skipped: tuple[tuple[int, int], ...] = ()

    def step(self, step: int) -> Sequence[Batch]:
        """Return the passes of a step, counted from 0, less the windows that were `skipped`."""
        plan = self._plan
        taken = self._order.step(step, plan.sequences_per_step, self.skipped)
        indices, rows = rows_of(self._rank, plan.world_size, taken)
        windows = self._windows.read(indices)
        size = plan.micro_batch_sequences
        return [
            as_batch(windows[start : start + size], min(size, rows - start), self._eot_id, self._pinned)
            for start in range(0, rows, size)
        ]


def as_batch(
    windows: npt.NDArray[np.int64], rows: int, eot_id: int | None = None, pinned: bool = False
) -> Batch:
    """Return windows (<= rows, T + 1) as a batch of `rows`; the rows beyond have no targets.

    With `eot_id` the batch numbers the document of each position. An end-of-text counts to the document
    that it is followed by, so that no target is predicted from another document, and a text begins in
    training as it does in sampling: after an end-of-text.
    """
    inputs, targets = pad(windows, rows)
    arrays = [inputs, targets] if eot_id is None else [inputs, targets, (inputs == eot_id).cumsum(axis=1)]
    tensors = [torch.from_numpy(array) for array in arrays]
    return Batch(*(tensor.pin_memory() for tensor in tensors) if pinned else tensors)
