"""STS-B: how alike are two sentences, from 0 to 5? (Cer et al., 2017; GLUE.)"""

from __future__ import annotations

from pipeline.finetune.dataset import Dataset, Rules
from pipeline.finetune.glue import layouts, sources
from pipeline.finetune.table import Form, score

LOW, HIGH = 0.0, 5.0
TEXTS = ("sentence1", "sentence2")
FORMS = (
    Form(texts=TEXTS, label="score", read=score(LOW, HIGH), id="index"),
    Form(
        texts=TEXTS,
        label="score",
        read=score(LOW, HIGH),
        order=("genre", "file", "year", "number", "score", *TEXTS, "source1", "source2"),
        least=7,  # not every sentence has a source
    ),
)
OWN = {"train": "sts-train.csv", "validation": "sts-dev.csv", "test": "sts-test.csv"}


class Config(Rules):
    """STS-B."""

    def build(self) -> Dataset:
        """Return the dataset."""
        found = layouts("STS-B")
        for split, file in OWN.items():  # named .csv where it is published, though tabs part the columns
            found[split] += [(f"stsbenchmark/{file}",), (f"stsb/{file.replace('csv', 'tsv')}",)]
        return Dataset(
            name="stsb",
            kind="similarity",
            scale=(LOW, HIGH),
            metrics=("pearson", "spearman"),
            splits=sources("STS-B", found, FORMS, "stsb", TEXTS),
            published={"train": 5_749, "validation": 1_500, "test": 1_379},
            submission={"test": "STS-B.tsv"},
            incomplete=self.incomplete,
        )
