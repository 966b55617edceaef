"""RACE without fine-tuning: the answer whose tokens are likeliest after the question (GPT-1, section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.config import Schema, identity
from pipeline.evaluate import labelled
from pipeline.evaluate.choice import hit
from pipeline.evaluate.context import cut_metric
from pipeline.evaluate.task import Example, Metric, Reply, Setting
from pipeline.metrics import clustered_mean


class Config(Schema):
    """The examples that are asked about."""

    dataset: labelled.Dataset = identity({"kind": "race"}, description="questions with several answers")

    def build(self, setting: Setting) -> RaceLogProb:
        """Return the task; MissingSet where the set is not there."""
        return RaceLogProb(self.dataset, setting)


class RaceLogProb(labelled.Endings):
    """One example is one question on a passage."""

    name = "race_log_prob"
    protocol = (
        "validation split of RACE; passage, line end, question, and the answer whose tokens have the highest "
        f"mean log-probability; answers as likely share a hit; {labelled.PROTOCOL}; stderr over passages"
    )

    def score(self, example: Example, replies: Sequence[Reply]) -> dict[str, Any]:
        """Return question and answers, what a token of each costs, and whether the right one costs least."""
        means = [sum(each) / len(each) for each in self.nats(example, replies)]
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
            "cut": self.is_cut(example),
        }

    def metrics(self, records: Sequence[dict[str, Any]]) -> list[Metric]:
        """Return accuracy and the share of cut passages."""
        hits, clusters = ([record[key] for record in records] for key in ("hit", "cluster"))
        return [Metric(name="accuracy", estimate=clustered_mean(hits, clusters)), cut_metric(records)]

    def texts(self, row: Any) -> tuple[str, Sequence[str]]:
        """Return passage and question, and the answers."""
        return f"{row.context}\n{row.question}".strip(), [f" {answer}" for answer in row.answers]
