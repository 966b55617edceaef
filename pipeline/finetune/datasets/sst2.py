"""SST-2: is a phrase of a film review positive or negative? (Socher et al., 2013; GLUE.)"""

from __future__ import annotations

from pipeline.finetune.dataset import Dataset, Rules
from pipeline.finetune.glue import layouts, sources
from pipeline.finetune.table import Form, numbered

FORMS = (
    Form(texts=("sentence",), label="label", read=numbered(2), id="index"),
    Form(texts=("sentence",), label="label", read=numbered(2)),
    # whole sentences alone, as the set is handed on without names: 6,920 of GLUE's 67,349 to train on
    Form(texts=("sentence",), label="label", read=numbered(2), order=("sentence", "label")),
)


class Config(Rules):
    """SST-2."""

    def build(self) -> Dataset:
        """Return the dataset."""
        return Dataset(
            name="sst2",
            kind="classification",
            labels=("negative", "positive"),
            metrics=("accuracy",),
            splits=sources("SST-2", layouts("SST-2", "sst2"), FORMS, "sst2", ("sentence",)),
            published={"train": 67_349, "validation": 872, "test": 1_821},
            submission={"test": "SST-2.tsv"},
            incomplete=self.incomplete,
        )
