"""From the stream of windows to what an engine takes: this process's micro-batches of a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from pipeline.train.plan import Plan
from pipeline.train.sampler import Order, Windows, pad, rows_of
from pipeline.trainer.engine import Batch, Tokens

Form = Callable[[npt.NDArray[np.int64], int, npt.NDArray[np.int64]], Batch]
"""Makes a batch of so many rows of windows (<= rows, T + 1), given their numbers in the stream of steps."""


class Batches:
    """The training data as one process sees it.

    `form` makes a batch of windows, see `Form`. `pinned` memory lets a GPU copy while it computes.
    """

    def __init__(self, windows: Windows, order: Order, plan: Plan, rank: int, form: Form, pinned: bool):
        self._windows, self._order, self._plan, self._rank = windows, order, plan, rank
        self._form, self._pinned = form, pinned
        self.skipped: tuple[tuple[int, int], ...] = ()

    def step(self, step: int) -> Sequence[Batch]:
        """Return the passes of a step, counted from 0, less the windows that were `skipped`."""
        plan = self._plan
        taken = self._order.step(step, plan.sequences_per_step, self.skipped)
        indices, rows = rows_of(self._rank, plan.world_size, taken)
        windows = self._windows.read(indices)
        first = step * plan.sequences_per_step
        numbers = np.arange(first + self._rank, first + len(taken), plan.world_size)
        size = plan.micro_batch_sequences
        batches = [
            self._form(windows[start : start + size], min(size, rows - start), numbers[start : start + size])
            for start in range(0, rows, size)
        ]
        return [batch.pinned() for batch in batches] if self._pinned else batches


def text_form(eot_id: int | None = None) -> Form:
    """Return what makes a batch of text of windows; with `eot_id`, attention stays inside documents."""
    return lambda windows, rows, _: as_batch(windows, rows, eot_id)


def as_batch(windows: npt.NDArray[np.int64], rows: int, eot_id: int | None = None) -> Tokens:
    """Return windows (<= rows, T + 1) as a batch of `rows`; the rows beyond have no targets.

    With `eot_id` the batch numbers the document of each position. An end-of-text counts to the document
    that it is followed by, so that no target is predicted from another document, and a text begins in
    training as it does in sampling: after an end-of-text.
    """
    inputs, targets = pad(windows, rows)
    arrays = [inputs, targets] if eot_id is None else [inputs, targets, (inputs == eot_id).cumsum(axis=1)]
    return Tokens(*(torch.from_numpy(array) for array in arrays))
