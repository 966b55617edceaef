"""SNLI: does a sentence follow from a picture's caption, contradict it, or neither? (Bowman et al., 2015.)

Pairs on which the annotators did not agree have no label, and everybody leaves them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from pipeline.finetune.dataset import Dataset, LeftOut, Row, Rules
from pipeline.finetune.table import NO_AGREEMENT, Form, example, named, numbered, rows
from pipeline.formats.source import Hub, Source

LABELS = ("entailment", "neutral", "contradiction")
TEXTS = ("sentence1", "sentence2")
FORMS = (
    Form(
        texts=TEXTS, label="gold_label", read=named(*LABELS), id="pairID", cluster="captionID", no_label="-"
    ),
    Form(texts=("premise", "hypothesis"), label="label", read=numbered(3), no_label="-1", quoted=True),
)
FILES = {"train": ("train", "train"), "validation": ("dev", "validation"), "test": ("test", "test")}


class Config(Rules):
    """SNLI."""

    def build(self) -> Dataset:
        """Return the dataset."""
        return Dataset(
            name="snli",
            kind="entailment",
            labels=LABELS,
            metrics=("accuracy",),
            splits={split: _source(split, *files) for split, files in FILES.items()},
            published={"train": 549_367, "validation": 9_842, "test": 9_824},
            incomplete=self.incomplete,
        )


def _source(split: str, file: str, handed_on: str) -> Source[Row]:
    return Source(
        name=f"SNLI, {split}",
        layouts=((f"snli_1.0/snli_1.0_{file}.txt",), (f"SNLI/{file}.tsv",), (f"snli/{handed_on}.tsv",)),
        parse=partial(rows, forms=FORMS),
        where="https://nlp.stanford.edu/projects/snli/snli_1.0.zip",
        hub=Hub(path="stanfordnlp/snli", split=split, row=_by_name),
    )


def _by_name(row: Mapping[str, Any]) -> Row:
    if row["label"] == -1:
        return LeftOut(reason=NO_AGREEMENT, by_rule=True)
    return example([row["premise"].strip(), row["hypothesis"].strip()], label=row["label"])
