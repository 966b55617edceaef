"""RACE without fine-tuning: the answer whose tokens are likeliest after the question (GPT-1, section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.config import Schema, identity
from pipeline.evaluate import labelled
from pipeline.evaluate.choice import hit
from pipeline.evaluate.context import cut_metric, nats_of
from pipeline.evaluate.task import Example, LogLikelihood, Metric, Reply, Setting
from pipeline.metrics import clustered_mean


class Config(Schema):
    """The examples that are asked about."""

    dataset: labelled.Dataset = identity({"kind": "race"}, description="questions with several answers")

    def build(self, setting: Setting) -> RaceLogProb:
        """Return the task; MissingSet where the set is not there."""
        return RaceLogProb(self, setting)


class RaceLogProb:
    """One example is one question on a passage."""

    name = "race_log_prob"
    protocol = (
        "validation split of RACE; passage, line end, question, and the answer whose tokens have the highest "
        f"mean log-probability; answers as likely share a hit; {labelled.PROTOCOL}; stderr over passages"
    )

    def __init__(self, config: Config, setting: Setting):
        split = labelled.read(config.dataset, setting)
        self._rows, self._setting = split.examples[: setting.limit], setting
        self.data_sha256 = split.sha256

    def examples(self) -> Sequence[Example]:
        """Return the questions."""
        return [Example(number=number, content=row) for number, row in enumerate(self._rows)]

    def requests(self, example: Example) -> Sequence[LogLikelihood]:
        """Return what is asked of every answer."""
        return [request for asked, _ in self._asked(example) for request in asked]

    def score(self, example: Example, replies: Sequence[Reply]) -> dict[str, Any]:
        """Return question and answers, what a token of each costs, and whether the right one costs least."""
        answers, asked = iter(replies), self._asked(example)
        nats = [nats_of(answers, requests) for requests, _ in asked]
        means = [sum(each) / len(each) for each in nats]
        row = example.content
        return {
            "number": example.number,
            "context": row.context,
            "question": row.question,
            "choices": list(row.answers),
            "label": row.label,
            "cluster": row.cluster or str(example.number),
            "nats": means,
            "hit": hit(means, row.label),
            "cut": any(cut for _, cut in asked),
        }

    def metrics(self, records: Sequence[dict[str, Any]]) -> list[Metric]:
        """Return accuracy and the share of cut passages."""
        hits, clusters = ([record[key] for record in records] for key in ("hit", "cluster"))
        return [Metric(name="accuracy", estimate=clustered_mean(hits, clusters)), cut_metric(records)]

    def _asked(self, example: Example) -> list[tuple[list[LogLikelihood], bool]]:
        row = example.content
        before = f"{row.context}\n{row.question}".strip()
        return [labelled.continued(self._setting, before, f" {answer}") for answer in row.answers]
