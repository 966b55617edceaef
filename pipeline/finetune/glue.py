"""The nine-task benchmark that most datasets are from: where its files lie and what its rows hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pipeline.finetune.dataset import PUBLIC, Row
from pipeline.finetune.table import Form, example, rows
from pipeline.formats.source import Hub, Source

WHERE = "https://gluebenchmark.com/tasks"
HUB = "nyu-mll/glue"
FILES = {"train": "train", "validation": "dev", "test": "test"}
"""The file of each split, without its ending."""


def sources(
    title: str,
    layouts: Mapping[str, Sequence[tuple[str, ...]]],
    forms: Sequence[Form],
    hub: str,
    texts: tuple[str, ...],
    by_name_splits: Mapping[str, str] | None = None,
) -> dict[str, Source[Row]]:
    """Return the sources of a set's splits: the layouts of each, and how the set is called and laid out by
    name, where `by_name_splits` has the splits that are called otherwise.
    """
    called = by_name_splits or {}
    return {
        split: Source(
            name=f"{title}, {split}",
            layouts=tuple(found),
            parse=partial(rows, forms=forms, secret=not split.startswith(PUBLIC)),
            where=WHERE,
            hub=Hub(path=HUB, name=hub, split=called.get(split, split), row=by_name(*texts)),
        )
        for split, found in layouts.items()
    }


def layouts(*folders: str, files: Mapping[str, str] = FILES) -> dict[str, list[tuple[str, ...]]]:
    """Return for each split its one table in each of some folders."""
    return {split: [(f"{folder}/{file}.tsv",) for folder in folders] for split, file in files.items()}


def by_name(*texts: str) -> Callable[[Mapping[str, Any]], Row]:
    """Return a reader of rows by name, whose texts stand in these columns; label -1 is a secret."""

    def read(row: Mapping[str, Any]) -> Row:
        label = None if row["label"] == -1 else row["label"]
        return example([str(row[name]).strip() for name in texts], label=label, id=str(row.get("idx", "")))

    return read
