"""CoLA: is a sentence of the linguistic literature acceptable English? (Warstadt et al., 2018; GLUE.)"""

from __future__ import annotations

from pipeline.finetune.dataset import Dataset, Rules
from pipeline.finetune.glue import layouts, sources
from pipeline.finetune.table import Form, numbered

# GLUE's training and validation files, and those of the set itself, have no names; its test file has.
COLUMNS = ("source", "label", "mark", "sentence")
FORMS = (
    Form(texts=("sentence",), label="label", read=numbered(2), order=COLUMNS),
    Form(texts=("sentence",), label="label", read=numbered(2), id="index"),
)
OWN = {  # GLUE's validation set is both of these
    "train": ("in_domain_train.tsv",),
    "validation": ("in_domain_dev.tsv", "out_of_domain_dev.tsv"),
}


class Config(Rules):
    """CoLA."""

    def build(self) -> Dataset:
        """Return the dataset."""
        found = layouts("CoLA")
        for split, files in OWN.items():
            for folder in ("cola_public/raw", "cola"):
                found[split].append(tuple(f"{folder}/{file}" for file in files))
        return Dataset(
            name="cola",
            kind="classification",
            labels=("unacceptable", "acceptable"),
            metrics=("matthews", "accuracy"),
            splits=sources("CoLA", found, FORMS, "cola", ("sentence",)),
            published={"train": 8_551, "validation": 1_043, "test": 1_063},
            submission={"test": "CoLA.tsv"},
            incomplete=self.incomplete,
        )
