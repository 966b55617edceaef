"""MNLI: does a sentence follow from another, contradict it, or neither? (Williams et al., 2018; GLUE.)

Its training pairs are of five genres. Its validation and test sets are told apart: of these genres (matched,
here the plain names) and of five others (mismatched).
"""

from __future__ import annotations

from pipeline.finetune.dataset import Dataset, Rules
from pipeline.finetune.glue import layouts, sources
from pipeline.finetune.table import Form, named

LABELS = ("entailment", "neutral", "contradiction")
TEXTS = ("sentence1", "sentence2")
FORMS = (
    Form(texts=TEXTS, label="gold_label", read=named(*LABELS), id="index", no_label="-"),
    # the set as its authors publish it
    Form(texts=TEXTS, label="gold_label", read=named(*LABELS), id="pairID", cluster="promptID", no_label="-"),
)
FILES = {
    "train": "train",
    "validation": "dev_matched",
    "validation_mismatched": "dev_mismatched",
    "test": "test_matched",
    "test_mismatched": "test_mismatched",
}
BY_NAME = {"validation": "validation_matched", "test": "test_matched"}


class Config(Rules):
    """MNLI."""

    def build(self) -> Dataset:
        """Return the dataset."""
        found = layouts("MNLI", files=FILES)
        for split in ("train", "validation", "validation_mismatched"):
            found[split].append((f"multinli_1.0/multinli_1.0_{FILES[split]}.txt",))
        return Dataset(
            name="mnli",
            kind="entailment",
            labels=LABELS,
            metrics=("accuracy",),
            splits=sources("MNLI", found, FORMS, "mnli", ("premise", "hypothesis"), by_name_splits=BY_NAME),
            published={
                "train": 392_702,
                "validation": 9_815,
                "validation_mismatched": 9_832,
                "test": 9_796,
                "test_mismatched": 9_847,
            },
            submission={"test": "MNLI-m.tsv", "test_mismatched": "MNLI-mm.tsv"},
            incomplete=self.incomplete,
        )
