"""SST-2 without fine-tuning: is "very positive" or "very negative" the likelier end? (GPT-1, section 5.)"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.config import Schema, identity
from pipeline.evaluate import labelled
from pipeline.evaluate.choice import hit
from pipeline.evaluate.context import cut_metric, nats_of
from pipeline.evaluate.task import Example, LogLikelihood, Metric, Reply, Setting
from pipeline.metrics import mean

ENDINGS = (" negative", " positive")  # by label


class Config(Schema):
    """The examples that are asked about."""

    dataset: labelled.Dataset = identity({"kind": "sst2"}, description="two classes of texts, bad and good")

    def build(self, setting: Setting) -> Sst2Very:
        """Return the task; MissingSet where the set is not there."""
        return Sst2Very(self, setting)


class Sst2Very:
    """One example is one phrase of a review."""

    name = "sst2_very"
    protocol = (
        "validation split of SST-2; `very` after the text, then `positive` against `negative`, the likelier "
        f"one wins, and both as likely share a hit; {labelled.PROTOCOL}"
    )

    def __init__(self, config: Config, setting: Setting):
        split = labelled.read(config.dataset, setting)
        self._rows, self._setting = split.examples[: setting.limit], setting
        self.data_sha256 = split.sha256

    def examples(self) -> Sequence[Example]:
        """Return the phrases."""
        return [Example(number=number, content=row) for number, row in enumerate(self._rows)]

    def requests(self, example: Example) -> Sequence[LogLikelihood]:
        """Return what is asked of both endings."""
        return [request for asked, _ in self._asked(example) for request in asked]

    def score(self, example: Example, replies: Sequence[Reply]) -> dict[str, Any]:
        """Return the phrase, what both endings cost, and whether the right one costs less."""
        answers, asked = iter(replies), self._asked(example)
        nats = [sum(nats_of(answers, requests)) for requests, _ in asked]
        return {
            "number": example.number,
            "text": example.content.text,
            "label": example.content.label,
            "nats": nats,
            "hit": hit(nats, example.content.label),
            "cut": any(cut for _, cut in asked),
        }

    def metrics(self, records: Sequence[dict[str, Any]]) -> list[Metric]:
        """Return accuracy and the share of cut texts."""
        accuracy = mean([record["hit"] for record in records])
        return [Metric(name="accuracy", estimate=accuracy), cut_metric(records)]

    def _asked(self, example: Example) -> list[tuple[list[LogLikelihood], bool]]:
        text = f"{example.content.text} very"
        return [labelled.continued(self._setting, text, ending) for ending in ENDINGS]
