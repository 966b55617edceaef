"""RTE: does a sentence follow from a text? (Dagan et al., 2006, and three later challenges; GLUE.)"""

from __future__ import annotations

from pipeline.finetune.dataset import Dataset, Rules
from pipeline.finetune.glue import layouts, sources
from pipeline.finetune.table import Form, named, numbered

LABELS = ("entailment", "not_entailment")
TEXTS = ("sentence1", "sentence2")
FORMS = (
    Form(texts=TEXTS, label="label", read=named(*LABELS), id="index"),
    Form(texts=TEXTS, label="label", read=numbered(2), id="idx", quoted=True),
)


class Config(Rules):
    """RTE."""

    def build(self) -> Dataset:
        """Return the dataset."""
        return Dataset(
            name="rte",
            kind="entailment",
            labels=LABELS,
            metrics=("accuracy",),
            splits=sources("RTE", layouts("RTE", "rte"), FORMS, "rte", TEXTS),
            published={"train": 2_490, "validation": 277, "test": 3_000},
            submission={"test": "RTE.tsv"},
            incomplete=self.incomplete,
        )
