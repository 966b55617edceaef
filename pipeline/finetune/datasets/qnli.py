"""QNLI: does a sentence hold the answer to a question? (Wang et al., 2018, from SQuAD; GLUE.)

The question comes first, as the premise: GLUE's order. GLUE replaced the set after GPT-1's paper (its version
2 has another division of the same pairs), so the paper's figure is that of the first version.
"""

from __future__ import annotations

from pipeline.finetune.dataset import Dataset, Rules
from pipeline.finetune.glue import layouts, sources
from pipeline.finetune.table import Form, named

LABELS = ("entailment", "not_entailment")
TEXTS = ("question", "sentence")
FORMS = (Form(texts=TEXTS, label="label", read=named(*LABELS), id="index"),)


class Config(Rules):
    """QNLI."""

    def build(self) -> Dataset:
        """Return the dataset."""
        return Dataset(
            name="qnli",
            kind="entailment",
            labels=LABELS,
            metrics=("accuracy",),
            splits=sources("QNLI", layouts("QNLI", "QNLIv2"), FORMS, "qnli", TEXTS),
            published={"train": 104_743, "validation": 5_463, "test": 5_463},
            submission={"test": "QNLI.tsv"},
            incomplete=self.incomplete,
        )
