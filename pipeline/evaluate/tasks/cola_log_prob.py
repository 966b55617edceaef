"""CoLA without fine-tuning: a sentence whose tokens are likely is taken for acceptable (GPT-1, section 5).

The paper thresholds the mean log-probability of a token and does not say where. Here the threshold lies so
that the share of sentences below it is that of the unacceptable ones in the training set, whose labels are
used for nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.config import Schema, identity
from pipeline.evaluate import labelled
from pipeline.evaluate.context import CUT_RULE, cut_metric, nats_of, windows
from pipeline.evaluate.task import Example, LogLikelihood, Metric, Reply, Setting
from pipeline.metrics import accuracy, bits_per_byte, matthews


class Config(Schema):
    """The examples that are asked about."""

    dataset: labelled.Dataset = identity({"kind": "cola"}, description="two classes of texts, bad and good")

    def build(self, setting: Setting) -> ColaLogProb:
        """Return the task; MissingSet where the set is not there."""
        return ColaLogProb(self, setting)


class ColaLogProb:
    """One example is one sentence."""

    name = "cola_log_prob"
    protocol = (
        "validation split of CoLA; mean log-probability of a token, the least likely sentences are "
        f"unacceptable, as large a share as in the training set; after end-of-text; {CUT_RULE}"
    )

    def __init__(self, config: Config, setting: Setting):
        split = labelled.read(config.dataset, setting)
        labels = [row.label for row in labelled.read(config.dataset, setting, "train").examples]
        self._bad = labels.count(0) / len(labels)
        self._rows, self._setting = split.examples[: setting.limit], setting
        self.data_sha256 = split.sha256

    def examples(self) -> Sequence[Example]:
        """Return the sentences."""
        return [Example(number=number, content=row) for number, row in enumerate(self._rows)]

    def requests(self, example: Example) -> Sequence[LogLikelihood]:
        """Return what is asked of a sentence: once, or in windows where it is too long."""
        tokenizer = self._setting.tokenizer
        return windows([tokenizer.eot_id], tokenizer.encode(example.content.text), self._setting.n_ctx)

    def score(self, example: Example, replies: Sequence[Reply]) -> dict[str, Any]:
        """Return the sentence and what it costs."""
        asked = self.requests(example)
        nats = nats_of(iter(replies), asked)
        return {
            "number": example.number,
            "text": example.content.text,
            "label": example.content.label,
            "nats": sum(nats),
            "tokens": len(nats),
            "bytes": len(example.content.text.encode()),
            "cut": len(asked) > 1,
        }

    def metrics(self, records: Sequence[dict[str, Any]]) -> list[Metric]:
        """Return Matthews, accuracy, bits per byte and the share of cut sentences."""
        costs = [record["nats"] / record["tokens"] for record in records]
        good = round((1 - self._bad) * len(costs))
        chosen = set(sorted(range(len(costs)), key=costs.__getitem__)[:good])
        labels = [record["label"] == 1 for record in records]
        taken = [place in chosen for place in range(len(costs))]
        bits = bits_per_byte([r["nats"] for r in records], [r["bytes"] for r in records])
        return [
            Metric(name="matthews", estimate=matthews(labels, taken)),
            Metric(name="accuracy", estimate=accuracy([a == b for a, b in zip(labels, taken, strict=True)])),
            Metric(name="bits_per_byte", estimate=bits),
            cut_metric(records),
        ]
