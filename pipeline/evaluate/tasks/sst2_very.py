"""SST-2 without fine-tuning: is "very positive" or "very negative" the likelier end? (GPT-1, section 5.)"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.config import Schema, identity
from pipeline.evaluate import labelled
from pipeline.evaluate.choice import hit
from pipeline.evaluate.context import cut_metric
from pipeline.evaluate.task import Example, Metric, Reply, Setting
from pipeline.metrics import mean

ENDINGS = (" negative", " positive")  # by label


class Config(Schema):
    """The examples that are asked about."""

    dataset: labelled.Dataset = identity({"kind": "sst2"}, description="two classes of texts, bad and good")

    def build(self, setting: Setting) -> Sst2Very:
        """Return the task; MissingSet where the set is not there."""
        return Sst2Very(self.dataset, setting)


class Sst2Very(labelled.Endings):
    """One example is one phrase of a review."""

    name = "sst2_very"
    protocol = (
        "validation split of SST-2; `very` after the text, then `positive` against `negative`, the likelier "
        f"one wins, and both as likely share a hit; {labelled.PROTOCOL}"
    )

    def score(self, example: Example, replies: Sequence[Reply]) -> dict[str, Any]:
        """Return the phrase, what both endings cost, and whether the right one costs less."""
        nats = [sum(each) for each in self.nats(example, replies)]
        return {
            "number": example.number,
            "text": example.content.text,
            "label": example.content.label,
            "nats": nats,
            "hit": hit(nats, example.content.label),
            "cut": self.is_cut(example),
        }

    def metrics(self, records: Sequence[dict[str, Any]]) -> list[Metric]:
        """Return accuracy and the share of cut texts."""
        accuracy = mean([record["hit"] for record in records])
        return [Metric(name="accuracy", estimate=accuracy), cut_metric(records)]

    def texts(self, row: Any) -> tuple[str, Sequence[str]]:
        """Return the phrase with `very` behind it, and both endings."""
        return f"{row.text} very", ENDINGS
