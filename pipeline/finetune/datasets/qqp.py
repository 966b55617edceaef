"""QQP: do two questions asked on Quora ask the same? (GLUE.)

A few rows of GLUE's training file lack a column or a question, so here they are left out and counted unless
they are to be refused.
"""

from __future__ import annotations

from typing import Literal

from pipeline.config import identity
from pipeline.finetune.dataset import Dataset, Rules
from pipeline.finetune.glue import layouts, sources
from pipeline.finetune.table import Form, numbered

TEXTS = ("question1", "question2")
FORMS = (Form(texts=TEXTS, label="is_duplicate", read=numbered(2), id="id"),)


class Config(Rules):
    """QQP."""

    incomplete: Literal["refuse", "leave_out"] = identity(
        "leave_out", description="rows with a column too few or an empty text: an error, or left out, counted"
    )

    def build(self) -> Dataset:
        """Return the dataset."""
        return Dataset(
            name="qqp",
            kind="similarity",
            labels=("not_duplicate", "duplicate"),
            metrics=("f1", "accuracy"),
            splits=sources("QQP", layouts("QQP"), FORMS, "qqp", TEXTS),
            published={"train": 363_846, "validation": 40_430, "test": 390_965},
            submission={"test": "QQP.tsv"},
            incomplete=self.incomplete,
        )
