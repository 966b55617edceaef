"""What a network's outputs mean: the prediction for each example, with its probability and its loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from pipeline.finetune.dataset import Dataset, Example, Span
from pipeline.finetune.measure import Prediction
from pipeline.finetune.rows import Row
from pipeline.finetune.transform import Window

LONGEST_ANSWER = 30  # tokens, as in BERT's released code for SQuAD


@dataclass(frozen=True)
class Found:
    """What was found for a row: the prediction, the logarithms of probabilities behind it, its loss in nats.

    `nats` is None where the label is not known.
    """

    row: int
    prediction: Prediction
    logs: tuple[float, ...]
    nats: float | None


def read(
    dataset: Dataset, numbers: Sequence[int], rows: Sequence[Row], examples: Sequence[Example], logs: Tensor
) -> list[Found]:
    """Return what the log probabilities (B or more, ...) say of rows, whose numbers are told again."""
    found = []
    for number, row, each in zip(numbers, rows, logs.float().cpu(), strict=False):
        if dataset.kind == "span":
            found.append(_span(number, row, cast(Span, examples[row.example]), each))
        else:
            values = each.tolist()
            found.append(Found(number, _prediction(dataset, values), tuple(values), _nats(row, values)))
    return found


def of_examples(
    found: Sequence[Found], rows: Sequence[Row], examples: int
) -> tuple[list[Prediction], list[dict[str, Any]]]:
    """Return the prediction for each example and what to write down of it; of pieces, the surest one's."""
    best: dict[int, Found] = {}
    for each in found:
        example = rows[each.row].example
        if example not in best or max(each.logs) > max(best[example].logs):
            best[example] = each
    chosen = [best[example] for example in range(examples)]
    records = [
        {"prediction": each.prediction, "log_probabilities": list(each.logs), "nats": each.nats}
        for each in chosen
    ]
    return [each.prediction for each in chosen], records


def _prediction(dataset: Dataset, logs: Sequence[float]) -> Prediction:
    if not dataset.scale:
        return max(range(len(logs)), key=lambda place: logs[place])
    return dataset.scale[0] + math.fsum(place * math.exp(log) for place, log in enumerate(logs))


def _nats(row: Row, logs: Sequence[float]) -> float | None:
    if isinstance(row.label, int):
        return -logs[row.label] if row.label >= 0 else None
    if not any(row.label):
        return None
    return -math.fsum(share * log for share, log in zip(row.label, logs, strict=True) if share)


def _span(number: int, row: Row, example: Span, logs: Tensor) -> Found:
    """Return the likeliest answer of at most so many tokens in a piece, by logs (T, 2) of its two ends."""
    window = cast(Window, row.window)
    first, count = window.first, len(window.characters)
    starts, ends = logs[first : first + count, 0], logs[first : first + count, 1]
    both = starts.unsqueeze(1) + ends.unsqueeze(0)  # (start, end)
    allowed = torch.ones_like(both, dtype=torch.bool).triu().tril(LONGEST_ANSWER - 1)
    score, place = both.masked_fill(~allowed, -torch.inf).flatten().max(0)
    start, end = divmod(int(place), count)
    text = window.text(example.context, first + start, first + end)
    ends_of_answer = cast(tuple[int, int], row.label)
    nats = None
    if ends_of_answer[0] >= 0:
        nats = -float(logs[ends_of_answer[0], 0] + logs[ends_of_answer[1], 1]) / 2
    return Found(number, text, (float(score),), nats)
