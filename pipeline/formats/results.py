"""Results of an evaluation: one file of figures for a suite of tasks, and one of records for each task.

`<suite>.json` is written last, so its presence means that the suite is finished; `<task>.jsonl.zst` then
holds one record per example (request, reply, score), in the order of the examples. While a task runs, its
records grow in a `RecordLog`, from which a killed evaluation goes on.
"""

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson
from backports import zstd

from pipeline.errors import FormatError
from pipeline.formats.publish import make_directory, publishing, read_format, write_json

FORMAT = 1
RECORDS_SUFFIX = ".jsonl.zst"


@dataclass(frozen=True, kw_only=True)
class Result:
    """One figure. `stderr` is None where it cannot be known; `paper` has the papers' figures by label."""

    task: str
    metric: str
    value: float
    stderr: float | None
    num_examples: int
    subset: str = "all"
    dtype: str
    data_sha256: str
    protocol: str
    paper: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Results:
    """A finished suite. `origin` tells what produced it, with the identity that a rerun must match."""

    checkpoint: str
    weights_hash: str
    origin: dict[str, Any]
    results: tuple[Result, ...]
    format: int = FORMAT

    def write(self, path: Path) -> None:
        """Publish the suite: from here on it is finished."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> "Results":
        """Return a suite's results; FormatError if the file is missing or is not one."""
        values = read_format(path, FORMAT, "evaluate again")
        try:
            results = tuple(_result(**result) for result in values.pop("results"))
            return cls(results=results, **values)
        except (KeyError, TypeError, AttributeError) as fault:
            raise FormatError(f"{path}: {fault}; evaluate again") from None


def write_records(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Publish the records of a finished task as one compressed frame with a checksum."""
    with publishing(path) as draft:
        draft.write_bytes(_frame(records))


def read_records(path: Path) -> list[dict[str, Any]]:
    """Return the records of a task; FormatError names a file that is missing, cut off or damaged."""
    try:
        return _records(zstd.decompress(path.read_bytes()))
    except FileNotFoundError:
        raise FormatError(f"{path}: no such file") from None
    except (zstd.ZstdError, orjson.JSONDecodeError) as fault:
        raise FormatError(f"{path}: not whole records ({fault}); remove it and evaluate again") from None


class RecordLog:
    """The records of a task under way: `append` adds a compressed frame, a torn last one is forgotten."""

    def __init__(self, path: Path):
        self._path = path
        self.records: list[dict[str, Any]] = []
        content = path.read_bytes() if path.is_file() else b""
        whole = 0
        while whole < len(content):
            try:
                size = zstd.get_frame_size(content[whole:])
                self.records += _records(zstd.decompress(content[whole : whole + size]))
            except (zstd.ZstdError, orjson.JSONDecodeError):
                os.truncate(path, whole)
                break
            whole += size

    def append(self, records: list[dict[str, Any]]) -> None:
        """Add records, on disk when this returns."""
        make_directory(self._path.parent)
        with self._path.open("ab") as file:
            file.write(_frame(records))
            file.flush()
            os.fsync(file.fileno())
        self.records += records


def _result(**values: Any) -> Result:
    # A figure that is not finite has no JSON form: it was written as null.
    return Result(**{**values, "value": math.inf if values["value"] is None else values["value"]})


def _frame(records: Iterable[Mapping[str, Any]]) -> bytes:
    lines = b"".join(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE) for record in records)
    return zstd.compress(lines, options={zstd.CompressionParameter.checksum_flag: 1})


def _records(lines: bytes) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in lines.splitlines()]
