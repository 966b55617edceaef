"""BERT's pre-training from windows of text: positions to fill in, and whether one piece follows the other.

As in Devlin et al. (2019), section 3.1 and appendix A.1: an input is two pieces of text, of which the second
follows the first in half of the cases and is of another place in the others; 15 % of the text's tokens are to
be predicted, of which 80 % are replaced by a mask token, 10 % by any token and 10 % left as they are. Start,
delimiter and extract token stand where fine-tuning has them, and bear the ids that they have there.

What becomes of a window is a pure function of the seed and its number in the stream.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from pipeline.train.sampler import NO_TARGET, Windows
from pipeline.train.stage import SPECIAL_IDS
from pipeline.trainer.headed import Examples

PREDICTED, MASKED, REPLACED = 0.15, 0.8, 0.1
SHORTEST_PIECE = (
    0.25  # of the text; the paper draws lengths so that pieces fill the input, and no more is said
)

Ids = npt.NDArray[np.int64]


class Masking:
    """Makes inputs of a split's windows; `vocab_size` is the tokenizer's, `stream` names the split's use."""

    def __init__(self, windows: Windows, vocab_size: int, seed: int, stream: int = 0):
        self._windows, self._vocab_size, self._seed = windows, vocab_size, (seed, stream)
        self._start, self._delimiter, self._extract, self._mask = range(vocab_size, vocab_size + SPECIAL_IDS)

    def batch(self, windows: Ids, rows: int, numbers: Ids) -> Examples:
        """Return windows (<= rows, T + 1), which have these numbers in the stream, as examples (rows, 1, T).

        Rows beyond the windows are not counted.
        """
        shape = (rows, windows.shape[1] - 1)
        inputs, targets = np.zeros(shape, np.int64), np.full(shape, NO_TARGET, np.int64)
        labels = np.full(rows, NO_TARGET, np.int64)
        for row, (window, number) in enumerate(zip(windows, numbers, strict=True)):
            inputs[row], targets[row], labels[row] = self._example(window, int(number))
        places = torch.full((rows, 1), shape[1] - 1)
        ids, wanted = torch.from_numpy(inputs).unsqueeze(1), torch.from_numpy(targets).unsqueeze(1)
        return Examples(ids, places, wanted, torch.from_numpy(labels))

    def _example(self, window: Ids, number: int) -> tuple[Ids, Ids, int]:
        """Return inputs and targets (T,) of a window (T + 1,), and whether its second piece follows."""
        draw = np.random.default_rng((*self._seed, number))
        text = len(window) - SPECIAL_IDS  # T less start, delimiter and extract
        first = int(draw.integers(int(text * SHORTEST_PIECE), text - int(text * SHORTEST_PIECE) + 1))
        follows = int(draw.random() < 0.5)
        other = window if follows else self._windows.read(draw.integers(self._windows.count, size=1))[0]
        whole = np.concatenate(
            ([self._start], window[:first], [self._delimiter], other[first:text], [self._extract])
        )
        places = 1 + draw.permutation(text)[: max(round(text * PREDICTED), 1)]
        places += places > first  # past the delimiter
        targets = np.full_like(whole, NO_TARGET)
        targets[places] = whole[places]
        kind = draw.random(len(places))
        whole[places[kind < MASKED]] = self._mask
        replaced = places[(kind >= MASKED) & (kind < MASKED + REPLACED)]
        whole[replaced] = draw.integers(self._vocab_size, size=len(replaced))
        return whole, targets, follows
