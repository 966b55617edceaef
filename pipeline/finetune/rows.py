"""From labelled examples to what an engine takes: rows of ids, dealt to the processes.

An example is a row, but for a question on a long passage, which is one for each piece of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.finetuned import Reading
from model.tokenizer import Tokenizer
from pipeline.finetune.dataset import Dataset, Example, Kind
from pipeline.finetune.transform import Input, Layout, Window, inputs
from pipeline.log import progress
from pipeline.trainer.engine import NO_TARGET
from pipeline.trainer.headed import Examples, Labels

READINGS: Mapping[Kind, Reading] = MappingProxyType(
    {
        "classification": "text",
        "entailment": "text",
        "similarity": "orders",
        "choice": "answers",
        "span": "spans",
    }
)
Ids = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Row:
    """The sequences of a row, the place of its example, and what is to be found: see `Examples.labels`."""

    example: int
    ids: tuple[Ids, ...]
    label: int | tuple[float, ...]
    window: Window | None = None


@dataclass(frozen=True)
class Head:
    """What the head of a dataset gives, and how it is taught."""

    reading: Reading
    outputs: int
    labels: Labels

    @classmethod
    def of(cls, dataset: Dataset) -> Head:
        """Return the head of a dataset.

        Scores are learned as shares of the whole numbers beside them (released code, `stsb_label_encoding`,
        after Tai et al., 2015): 3.2 is 0.8 of a three and 0.2 of a four.
        """
        reading = READINGS[dataset.kind]
        if dataset.kind == "span":
            return cls(reading, 2, "ends")
        if dataset.kind == "choice":
            return cls(reading, 1, "class")
        if dataset.scale:
            return cls(reading, round(dataset.scale[1] - dataset.scale[0]) + 1, "shares")
        return cls(reading, len(dataset.labels), "class")


def encoded(
    dataset: Dataset, examples: Sequence[Example], tokenizer: Tokenizer, layout: Layout, told: str
) -> tuple[list[Row], int]:
    """Return the rows of examples, and how many examples lost tokens; `told` names them while it goes on."""
    rows: list[Row] = []
    cut = 0
    with progress(told, len(examples), "examples") as shown:
        for number, example in enumerate(examples):
            found = inputs(dataset.kind, example, tokenizer, layout)
            cut += any(each.cut for each in found)
            rows += _rows(dataset, number, example, found)
            shown.advance(1)
    return rows, cut


def batch(rows: Sequence[Row], size: int, head: Head) -> Examples:
    """Return rows (<= size) padded to the longest; those beyond them are not counted."""
    answers = max((len(row.ids) for row in rows), default=1)
    longest = max((len(ids) for row in rows for ids in row.ids), default=1)
    ids = np.zeros((size, answers, longest), np.int64)
    targets = np.full_like(ids, NO_TARGET)
    places = np.zeros((size, answers), np.int64)
    for number, row in enumerate(rows):
        for answer, sequence in enumerate(row.ids):
            ids[number, answer, : len(sequence)] = sequence
            targets[number, answer, : len(sequence) - 1] = sequence[1:]
            places[number, answer] = len(sequence) - 1
    labels = _labels(rows, size, head)
    return Examples(torch.from_numpy(ids), torch.from_numpy(places), torch.from_numpy(targets), labels)


def dealt(places: npt.NDArray[np.int64], rank: int, world_size: int, at_once: int) -> list[tuple[Ids, int]]:
    """Return one process's passes over some rows: their places, and how many rows to pad to.

    All processes make as many passes of as many rows.
    """
    mine = places[rank::world_size]
    count = -(-len(places) // world_size)
    return [
        (mine[start : start + at_once].astype(np.int32), min(at_once, count - start))
        for start in range(0, count, at_once)
    ]


class Epochs:
    """Which rows each step takes: all once an epoch, in an order that follows from seed and epoch."""

    def __init__(self, rows: int, at_once: int, seed: int):
        self._rows, self._at_once, self._seed = rows, at_once, seed
        self.steps = -(-rows // at_once)
        self._order = (-1, np.empty(0, np.int64))

    def step(self, step: int) -> npt.NDArray[np.int64]:
        """Return the places of the rows of a step, counted from 0; an epoch's last step may have fewer."""
        epoch, inside = divmod(step, self.steps)
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng((self._seed, epoch)).permutation(self._rows))
        return self._order[1][inside * self._at_once : (inside + 1) * self._at_once]


def _rows(dataset: Dataset, number: int, example: Example, found: Sequence[Input]) -> list[Row]:
    sequences = [np.array(each.ids, np.int32) for each in found]
    if dataset.kind != "span":
        return [Row(number, tuple(sequences), _label(dataset, example))]
    rows = []
    for ids, piece in zip(sequences, found, strict=True):
        window = cast(Window, piece)
        # Where the piece has no answer, both ends are the extract token, as BERT takes its first one.
        ends = window.answer or (window.extract, window.extract)
        rows.append(Row(number, (ids,), ends if example.labelled else (NO_TARGET, NO_TARGET), window))
    return rows


def _label(dataset: Dataset, example: Example) -> int | tuple[float, ...]:
    if not dataset.scale:
        return NO_TARGET if example.label is None else int(example.label)
    low, high = dataset.scale
    shares = [0.0] * (round(high - low) + 1)
    if example.label is not None:
        below = min(int(example.label - low), len(shares) - 2)
        shares[below + 1] = example.label - low - below
        shares[below] = 1 - shares[below + 1]
    return tuple(shares)


def _labels(rows: Sequence[Row], size: int, head: Head) -> Tensor:
    """Return the labels of rows, as their head's loss wants them, and of those beyond, which ask nothing."""
    missing = size - len(rows)
    found = [row.label for row in rows]
    if head.labels == "shares":
        return torch.tensor([*found, *[(0.0,) * head.outputs] * missing], dtype=torch.float32)
    nothing = (NO_TARGET, NO_TARGET) if head.labels == "ends" else NO_TARGET
    return torch.tensor([*found, *[nothing] * missing], dtype=torch.int64)
