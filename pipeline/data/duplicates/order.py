"""The canonical order of documents, and what is decided about each.

A document's place in it (0 is the best) is its number from here on: earlier datasets' documents first, then
most karma, the longest, the lowest id. What is kept in between takes 29 bytes a document, in memory-mapped
files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.duplicates.arrays import Array, mapped, new_mapped
from pipeline.data.duplicates.describe import Described
from pipeline.errors import StageError
from pipeline.formats.publish import publishing

REASONS = ("", "same_url", "exact", "near")  # by code, in the order in which they are looked for
MOST_DOCUMENTS = 1 << 32  # places have 32 bits

_COLUMNS = {
    "row": np.uint64,
    "is_new": np.bool_,
    "karma": np.int64,
    "length": np.int64,
    "high": np.uint64,
    "low": np.uint64,
}


@dataclass(frozen=True)
class Order:
    """The order on disk; the first `earlier` documents belong to earlier datasets, which keep them."""

    folder: Path
    earlier: int

    @property
    def places(self) -> Array:
        """Return the place of each row (N,)."""
        return mapped(self.folder / "places", np.uint32)

    @property
    def rows(self) -> Array:
        """Return the row at each place (N,)."""
        return mapped(self.folder / "rows", np.uint32)

    @property
    def ids(self) -> Array:
        """Return the two halves of the id at each place (N, 2)."""
        return mapped(self.folder / "ids", np.uint64).reshape(-1, 2)


def write_order(described: Described, order: Order, memory_limit: str) -> None:
    """Sort the documents, out of core; those of the first `order.earlier` rows come first.

    Raises StageError if neither memory nor disk have room for them.
    """
    import duckdb  # here, for only this one process needs it and not every task

    count = int(described.starts[-1])
    if count > MOST_DOCUMENTS:
        raise StageError(f"{count} documents are more than the {MOST_DOCUMENTS} that dedup can number")
    with publishing(order.folder) as draft:
        draft.mkdir()
        places, rows = (new_mapped(draft / name, np.uint32, count) for name in ("places", "rows"))
        ids = new_mapped(draft / "ids", np.uint64, 2 * count).reshape(-1, 2)
        first = 0
        try:
            for batch in _sorted(described, order, memory_limit, draft.with_name("spill")):
                here = slice(first, first := first + len(batch))
                rows[here], ids[here, 0], ids[here, 1] = (column.to_numpy() for column in batch.columns)
                places[rows[here]] = np.arange(here.start, here.stop, dtype=np.uint32)
        except duckdb.OutOfMemoryException:
            raise StageError(
                f"{order.folder.parent}: no room to sort {count} documents, neither in the {memory_limit} of "
                f"dedup.memory_limit nor on the disk; make room, or raise the limit, and run it again"
            ) from None


def _sorted(described: Described, order: Order, memory_limit: str, spill: Path) -> Iterator[Any]:
    """Yield record batches of row and id, in order."""
    import duckdb
    import pyarrow as pa

    settings = {"memory_limit": memory_limit, "temp_directory": str(spill)}
    with duckdb.connect(config=settings) as database:
        schema = pa.schema({name: pa.from_numpy_dtype(dtype) for name, dtype in _COLUMNS.items()})
        batches = map(pa.RecordBatch.from_pydict, _columns(described, order.earlier))
        database.register("documents", pa.RecordBatchReader.from_batches(schema, batches))
        ordered = database.sql(
            "SELECT row, high, low FROM documents ORDER BY is_new, karma DESC, length DESC, high, low, row"
        )
        yield from pa.RecordBatchReader.from_stream(ordered)


def _columns(described: Described, earlier: int) -> Iterator[dict[str, Array]]:
    """Yield what is sorted, part by part."""
    for start, part in zip(described.starts[:-1], described.parts, strict=True):
        records = described.records(part)
        rows = np.arange(start, start + len(records), dtype=np.uint64)
        high, low = records["id"].T
        values = (rows, rows >= earlier, records["karma"], records["length"], high, low)
        yield {name: np.ascontiguousarray(each) for name, each in zip(_COLUMNS, values, strict=True)}


class Decisions:
    """What becomes of each document, by place: a reason's code (0: it stays) and the place of its keeper."""

    def __init__(self, codes: Array, keepers: Array):
        self.codes, self.keepers = codes, keepers

    @classmethod
    def read(cls, folder: Path) -> Decisions:
        """Return what was decided."""
        return cls(mapped(folder / "codes", np.int8), mapped(folder / "keepers", np.uint32))

    @classmethod
    def begin(cls, folder: Path, count: int) -> Decisions:
        """Return decisions to be made in a new folder: everything stays."""
        folder.mkdir()
        return cls(
            new_mapped(folder / "codes", np.int8, count), new_mapped(folder / "keepers", np.uint32, count)
        )

    def take(self, before: Decisions) -> None:
        """Begin with what was decided before."""
        self.codes[:], self.keepers[:] = before.codes, before.keepers

    def drop(self, places: Any, reason: str, keepers: Any) -> None:
        """Let documents go because of others."""
        self.codes[places], self.keepers[places] = REASONS.index(reason), keepers
