"""A dataset by the name under which the library `datasets` finds it, or a folder that it wrote.

It is loaded (and, from the hub, brought here) once; tasks then read ranges of its rows from its own cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.config import identity
from pipeline.data.documents import Text
from pipeline.data.read import Slice
from pipeline.data.rows import Broken, RowRules
from pipeline.errors import ConfigError

SLICE_BYTES = 64 << 20
BATCH_ROWS = 256


class Config(RowRules):
    """Which dataset, which part of it, and which columns hold what."""

    name: str = identity(description="a name on the hub, or a folder")
    subset: str | None = identity(None, description="the dataset's configuration, where it has several")
    split: str = identity("train", description="also a part of one: train[:10%]")
    revision: str | None = identity(None, description="a commit of the dataset; empty: the newest")

    def slices(self, files: Sequence[Path]) -> list[Slice]:
        """Return one slice for every `SLICE_BYTES` of the dataset."""
        if files:
            raise ConfigError("paths: kind datasets reads the dataset of its `name`; remove `paths`")
        dataset = self._load()
        if self.text_key not in dataset.column_names:
            found = ", ".join(dataset.column_names)
            raise ConfigError(
                f"{self.name}: no column {self.text_key!r}; set read.text_key to one of {found}"
            )
        rows = max(1, len(dataset) * SLICE_BYTES // max(1, dataset.data.nbytes))
        return [
            partial(_rows, self, dataset, start, min(start + rows, len(dataset)))
            for start in range(0, len(dataset), rows)
        ]

    def _load(self) -> Any:
        import datasets

        folder = Path(self.name)
        try:
            if (folder / "dataset_dict.json").is_file():
                return datasets.load_from_disk(folder)[self.split]
            if (folder / "state.json").is_file():
                return datasets.load_from_disk(folder)
            return datasets.load_dataset(self.name, self.subset, split=self.split, revision=self.revision)
        except KeyError:
            raise ConfigError(f"{self.name}: no split {self.split!r} in this folder") from None
        except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as fault:
            raise ConfigError(f"read: datasets cannot load {self.name!r}: {fault}") from None


def _rows(rules: Config, dataset: Any, start: int, stop: int) -> Iterator[Text | Broken]:
    columns = [key for key in rules.keys if key in dataset.column_names]
    part = dataset.select_columns(columns).select(range(start, stop)).with_format("arrow")
    name = f"datasets:{Path(rules.name).name if Path(rules.name).is_dir() else rules.name}/{rules.split}"
    for batch in part.iter(BATCH_ROWS):
        for number, row in enumerate(batch.to_pylist(), start=start):
            yield rules.row(row, name, f"row={number}")
        start += len(batch)
