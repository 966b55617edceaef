"""Arrays on disk: plain numbers without a header, written whole, read in part.

A folder of them is published at once, so a file that exists is a file that is whole.
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def write_array(path: Path, values: Array) -> None:
    """Write an array's numbers; on a full disk this is an OSError with its number (numpy's own has none)."""
    path.write_bytes(values.tobytes())


def numbered(folder: Path) -> list[Path]:
    """Return what tasks published in a folder, by rank; a killed task's draft begins with a dot."""
    return sorted(folder.glob("[0-9]*"))


def mapped(path: Path, dtype: Any) -> Array:
    """Return a file as an array that is read where it is looked at."""
    if not path.stat().st_size:
        return np.empty(0, dtype)  # nothing cannot be mapped
    return np.memmap(path, dtype, "r")


def new_mapped(path: Path, dtype: Any, count: int) -> Array:
    """Make a file of zeros and return it as an array to write to."""
    with path.open("wb") as file:
        if not count:
            return np.empty(0, dtype)
        # Taken from the disk now: a write to mapped memory that finds it full would kill the process.
        os.posix_fallocate(file.fileno(), 0, count * np.dtype(dtype).itemsize)
    return np.memmap(path, dtype, "r+")


def between(path: Path, dtype: Any, low: int, high: int, field: str) -> Array:
    """Return the records whose `field`, by which the file is sorted, lies in [low, high]."""
    records = mapped(path, dtype)
    numbers: Sequence[int] = records[field]  # type: ignore[assignment]
    # Not np.searchsorted, which would first copy the whole column: a few records are looked at.
    first = bisect_left(numbers, low)
    return np.array(records[first : bisect_right(numbers, high, first)])
