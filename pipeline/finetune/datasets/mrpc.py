"""MRPC: do two sentences of the news say the same? (Dolan and Brockett, 2005; GLUE.)

GLUE's validation set is a part of the training file of Microsoft's release. Where that file lies beside the
list of these rows, they are taken from it, so that all splits are written alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from pipeline.errors import FormatError
from pipeline.finetune.dataset import Dataset, Pair, Row, Rules
from pipeline.finetune.glue import layouts, sources
from pipeline.finetune.table import Form, numbered, rows

TEXTS = ("#1 String", "#2 String")
LISTED = Form(texts=("sentence1", "sentence2"), label="label", read=numbered(2), id="index", quoted=True)
FORMS = (
    Form(texts=TEXTS, label="Quality", read=numbered(2), id="index"),
    Form(texts=TEXTS, label="Quality", read=numbered(2)),
)
RELEASE, LIST = "mrpc/msr_paraphrase_train.txt", "mrpc/glue_validation.tsv"


class Config(Rules):
    """MRPC."""

    def build(self) -> Dataset:
        """Return the dataset."""
        found = layouts("MRPC")
        found["train"].append((RELEASE, LIST))
        found["validation"].append((RELEASE, LIST))
        found["test"] += [("MRPC/msr_paraphrase_test.txt",), ("mrpc/msr_paraphrase_test.txt",)]
        splits = sources("MRPC", found, FORMS, "mrpc", ("sentence1", "sentence2"))
        for split in ("train", "validation"):
            splits[split] = replace(splits[split], parse=partial(_divided, listed=split == "validation"))
        return Dataset(
            name="mrpc",
            kind="similarity",
            labels=("not_equivalent", "equivalent"),
            metrics=("f1", "accuracy"),
            splits=splits,
            published={"train": 3_668, "validation": 408, "test": 1_725},
            submission={"test": "MRPC.tsv"},
            incomplete=self.incomplete,
        )


def _divided(files: Sequence[Path], listed: bool) -> list[Row]:
    """Return the rows of a split's own file; of the release those that are listed, or those that are not."""
    found = rows(files[:1], FORMS)
    if len(files) == 1:
        return found
    chosen = {row.id: row for row in rows(files[1:], [LISTED]) if isinstance(row, Pair)}
    for id, row in chosen.items():
        there = found[int(id)] if id.isdecimal() and int(id) < len(found) else None
        if not isinstance(there, Pair) or there.label != row.label:
            raise FormatError(f"{row.place}: row {id} of {files[0]} is another one; get both files anew")
    return [row for number, row in enumerate(found) if (str(number) in chosen) == listed]
