"""What all seeds of a fine-tuning share: the dataset as rows of ids, and how they were made."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from model.tokenizer import Tokenizer
from pipeline.finetune.dataset import Dataset, Example, Split
from pipeline.finetune.rows import Head, Row, encoded
from pipeline.finetune.transform import PROTOCOL, Layout

_log = logging.getLogger("loglinear.finetune")


@dataclass(frozen=True, kw_only=True)
class Materials:
    """A dataset's splits, of each `limit` examples at most, and the folder of the network that learns."""

    dataset: Dataset
    folder: Path
    tokenizer: Tokenizer
    layout: Layout
    head: Head
    splits: Mapping[str, Split]
    limit: int | None = None
    _rows: dict[str, list[Row]] = field(default_factory=dict)

    def examples(self, split: str) -> Sequence[Example]:
        """Return the examples of a split."""
        return self.splits[split].examples[: self.limit]

    def rows(self, split: str) -> list[Row]:
        """Return the rows of a split, made when they are first asked for."""
        if split not in self._rows:
            told = f"{self.dataset.name} {split} to tokens"
            rows, cut = encoded(self.dataset, self.examples(split), self.tokenizer, self.layout, told)
            if cut:
                _log.info("%s %s: %d examples lost tokens (%s)", self.dataset.name, split, cut, PROTOCOL)
            self._rows[split] = rows
        return self._rows[split]
