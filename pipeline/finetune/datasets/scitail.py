"""SciTail: does an answer of school science follow from a sentence of the web? (Khot et al., 2018.)"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from pipeline.finetune.dataset import Dataset, Row, Rules
from pipeline.finetune.table import Form, example, named, rows
from pipeline.formats.source import Hub, Source

LABELS = ("entails", "neutral")
READ = named(*LABELS)
TEXTS = ("premise", "hypothesis")
FORMS = (Form(texts=TEXTS, label="label", read=READ, order=(*TEXTS, "label")),)
FILES = {"train": "train", "validation": "dev", "test": "test"}


class Config(Rules):
    """SciTail."""

    def build(self) -> Dataset:
        """Return the dataset."""
        return Dataset(
            name="scitail",
            kind="entailment",
            labels=LABELS,
            metrics=("accuracy",),
            splits={split: _source(split, file) for split, file in FILES.items()},
            published={"train": 23_596, "validation": 1_304, "test": 2_126},
            incomplete=self.incomplete,
        )


def _source(split: str, file: str) -> Source[Row]:
    return Source(
        name=f"SciTail, {split}",
        layouts=((f"SciTailV1.1/tsv_format/scitail_1.0_{file}.tsv",), (f"scitail/scitail_1.0_{file}.tsv",)),
        parse=partial(rows, forms=FORMS),
        where="https://allenai.org/data/scitail",
        hub=Hub(path="allenai/scitail", name="tsv_format", split=split, row=_by_name),
    )


def _by_name(row: Mapping[str, Any]) -> Row:
    return example([row["premise"].strip(), row["hypothesis"].strip()], label=READ(row["label"]))
