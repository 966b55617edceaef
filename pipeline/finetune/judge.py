"""Predictions of a network for a labelled dataset, by all processes together, and what they are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from launch.environment import rank, world_size
from pipeline.finetune import predictions
from pipeline.finetune.materials import Materials
from pipeline.finetune.measure import Prediction, figures
from pipeline.finetune.reading import Found, of_examples, read
from pipeline.finetune.rows import batch, dealt
from pipeline.finetune.stage import Config, name_of
from pipeline.finetune.transform import PROTOCOL
from pipeline.formats import paper_gpt1
from pipeline.formats.results import RECORDS_SUFFIX, Result, write_records
from pipeline.metrics import Estimate, mean
from pipeline.trainer.collective import gathered
from pipeline.trainer.engine import Engine


class Judge:
    """An engine's network before the splits of a dataset. What it does is collective."""

    def __init__(self, config: Config, materials: Materials, engine: Engine):
        self._config, self._materials, self._engine = config, materials, engine

    def measured(self, split: str) -> dict[str, Estimate]:
        """Return the dataset's metrics on a labelled split, and the mean loss in nats."""
        return self._measured(split, *self._told(split))

    def published(self, split: str, to: Path | None) -> list[Result]:
        """Return the figures of a split, none without labels; write its predictions into the folder given."""
        examples, (told, records) = self._materials.examples(split), self._told(split)
        if to is None:
            return []
        lines = [
            {"number": number, "id": example.id, "place": example.place, "label": example.label, **record}
            for number, (example, record) in enumerate(zip(examples, records, strict=True))
        ]
        write_records(to / f"{split}{RECORDS_SUFFIX}", lines)
        dataset = self._materials.dataset
        if split in dataset.submission and not self._config.limit:
            predictions.write(to / "submission", dataset, split, examples, told)
        if not all(example.labelled for example in examples):
            return []
        measured = self._measured(split, told, records)
        return [self._result(split, name, estimate) for name, estimate in measured.items()]

    def _measured(
        self, split: str, told: Sequence[Prediction], records: Sequence[Mapping[str, Any]]
    ) -> dict[str, Estimate]:
        loss = mean([record["nats"] for record in records])
        return {**figures(self._materials.dataset, self._materials.examples(split), told), "loss": loss}

    def _told(self, split: str) -> tuple[list[Prediction], list[dict[str, Any]]]:
        return of_examples(
            self._predicted(split), self._materials.rows(split), len(self._materials.examples(split))
        )

    def _predicted(self, split: str) -> list[Found]:
        """Return what was found for every row of a split, in their order; collective."""
        rows, examples = self._materials.rows(split), self._materials.examples(split)
        # By length, so that little is padded.
        order = np.argsort([max(map(len, row.ids)) for row in rows], kind="stable").astype(np.int64)
        mine: list[Found] = []
        for places, size in dealt(order, rank(), world_size(), 2 * self._config.micro_batch_examples):
            chosen = [rows[place] for place in places]
            logs = self._engine.predict(batch(chosen, size, self._materials.head))
            mine += read(self._materials.dataset, places.tolist(), chosen, examples, logs)
        everything = [found for part in gathered(mine) for found in part]
        return sorted(everything, key=lambda found: found.row)

    def _result(self, split: str, metric: str, estimate: Estimate) -> Result:
        dataset = self._materials.dataset
        return Result(
            task=f"finetune/{name_of(self._config)}",
            metric=metric,
            value=estimate.value,
            stderr=estimate.stderr,
            num_examples=estimate.num_examples,
            subset=split,
            paper=dict(paper_gpt1.figures(dataset.name, paper_gpt1.column(split, metric))),
            dtype=self._config.precision,
            data_sha256=self._materials.splits[split].sha256,
            protocol=(
                f"{dataset.kind}, head on the extract token; best of {self._config.epochs} epochs by"
                f" validation {dataset.metrics[0]}; at most {self._materials.layout.n_ctx} tokens; {PROTOCOL}"
            ),
        )
