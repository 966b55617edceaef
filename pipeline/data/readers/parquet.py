"""Parquet files with a row for each document: FineWeb's own, or anybody's with a column of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.data.documents import Text
from pipeline.data.read import Slice
from pipeline.data.rows import Broken, RowRules, file_names
from pipeline.errors import ConfigError, FormatError

SLICE_BYTES = 64 << 20  # of row groups, uncompressed; a row group is not cut
BATCH_ROWS = 256


class Config(RowRules):
    """Which columns hold what. A file that is damaged, or has no such column of text, is an error."""

    def slices(self, files: Sequence[Path]) -> list[Slice]:
        """Return one slice for every `SLICE_BYTES` of a file."""
        opened = {path: _open(path) for path in files}
        if problems := [problem for path in files for problem in _problems(self, path, opened[path])]:
            raise ConfigError(problems)
        return [
            partial(_rows, self, path, name, groups, first)
            for path, name in file_names(files).items()
            for groups, first in _grouped(opened[path].metadata)
        ]


def _rows(
    rules: RowRules, path: Path, name: str, groups: Sequence[int], first: int
) -> Iterator[Text | Broken]:
    """Yield the documents of some row groups, of which the first begins with row number `first`."""
    import pyarrow as pa

    file = _open(path)
    columns = [key for key in rules.keys if key in file.schema_arrow.names]
    try:
        for batch in file.iter_batches(BATCH_ROWS, row_groups=groups, columns=columns):
            for number, row in enumerate(batch.to_pylist(), start=first):
                yield rules.row(row, name, f"row={number}")
            first += len(batch)
    except (OSError, pa.ArrowInvalid) as fault:
        raise FormatError(f"{path}: damaged after row {first} ({fault}); get it again") from None


def _open(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except (OSError, pa.ArrowInvalid) as fault:
        raise FormatError(f"{path}: not a whole Parquet file ({fault}); get it again") from None


def _problems(rules: RowRules, path: Path, file: Any) -> Iterator[str]:
    import pyarrow as pa

    schema, key = file.schema_arrow, rules.text_key
    if key not in schema.names:
        yield f"{path}: no column {key!r}; set read.text_key to one of {', '.join(schema.names)}"
    elif not (pa.types.is_string(schema.field(key).type) or pa.types.is_large_string(schema.field(key).type)):
        yield f"{path}: column {key!r} is {schema.field(key).type}, not text; set read.text_key to another"


def _grouped(metadata: Any) -> Iterator[tuple[list[int], int]]:
    """Yield neighbouring row groups of about `SLICE_BYTES` together, and the number of their first row."""
    groups: list[int] = []
    first = rows = size = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        groups.append(number)
        rows, size = rows + group.num_rows, size + group.total_byte_size
        if size >= SLICE_BYTES or number == metadata.num_row_groups - 1:
            yield groups, first
            groups, first, size = [], rows, 0
