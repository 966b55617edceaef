"""Predictions as the keepers of secret labels want them: GLUE's tables and SQuAD's JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.finetune.dataset import Dataset, Example
from pipeline.finetune.measure import Prediction
from pipeline.formats.publish import write_text


def write(
    directory: Path,
    dataset: Dataset,
    split: str,
    examples: Sequence[Example],
    predictions: Sequence[Prediction],
) -> Path:
    """Write the predictions for a split under the name that they are handed in by, and return the path.

    Raises ConfigError for a split that nobody takes predictions for, ValueError unless there is one for each
    example and no two examples have one id.
    """
    name = dataset.submission.get(split)
    if name is None:
        taken = ", ".join(dataset.submission) or "none"
        raise ConfigError(f"{dataset.name}: nobody takes predictions for {split} (splits taken: {taken})")
    text = (
        as_json(examples, predictions) if name.endswith(".json") else as_table(dataset, examples, predictions)
    )
    write_text(directory / name, text)
    return directory / name


def as_table(dataset: Dataset, examples: Sequence[Example], predictions: Sequence[Prediction]) -> str:
    """Return GLUE's table: a line of names, then the index and the prediction of each example.

    Entailment is spelled out, other classes are numbers, scores have three digits and stay on their scale.
    """
    _check(examples, predictions)
    lines = [
        f"{example.id}\t{_spelled(dataset, found)}"
        for example, found in zip(examples, predictions, strict=True)
    ]
    return "\n".join(["index\tprediction", *lines, ""])


def as_json(examples: Sequence[Example], predictions: Sequence[Prediction]) -> str:
    """Return SQuAD's object of answers by question."""
    _check(examples, predictions)
    answers = {example.id: str(found) for example, found in zip(examples, predictions, strict=True)}
    return json.dumps(answers, ensure_ascii=False, indent=0) + "\n"


def _spelled(dataset: Dataset, found: Prediction) -> str:
    if dataset.scale:
        low, high = dataset.scale
        return f"{min(max(float(found), low), high):.3f}"
    number = int(found)
    label = dataset.labels[number]
    return label if dataset.kind == "entailment" else str(number)


def _check(examples: Sequence[Example], predictions: Sequence[Prediction]) -> None:
    if len(examples) != len(predictions):
        raise ValueError(f"{len(predictions)} predictions for {len(examples)} examples")
    twice = [id for id, count in Counter(example.id for example in examples).items() if count > 1]
    if twice:
        raise ValueError(f"{len(twice)} ids name more than one example, as {twice[0]} does")
