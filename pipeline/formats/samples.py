"""A few documents out of many, to be read by people: chosen by the hash of their text, not the first ones."""

from __future__ import annotations

import hashlib
import heapq
import sys
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import orjson

from pipeline.errors import FormatError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SUFFIX = ".jsonl.zst"
# So that a sample of a large dataset takes a second: files spread evenly, the beginning of each.
MOST_FILES, MOST_DOCUMENTS = 8, 500


def sample(folder: Path, number: int) -> list[dict[str, Any]]:
    """Return up to `number` documents from below a folder; the same documents give the same sample."""
    files = sorted(folder.rglob(f"*{SUFFIX}"))
    spread = files[:: -(-len(files) // MOST_FILES)] if files else []
    rows = chain.from_iterable(islice(read_rows(path), MOST_DOCUMENTS) for path in spread)
    return heapq.nsmallest(number, rows, key=_place)


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the documents of a zstd-compressed JSON lines file; FormatError if it is cut off or damaged."""
    try:
        with zstd.open(path, "rb") as lines:
            yield from map(orjson.loads, lines)
    except (EOFError, zstd.ZstdError, orjson.JSONDecodeError) as fault:
        raise FormatError(f"{path}: {type(fault).__name__}: {fault}; rebuild it") from None


def _place(row: dict[str, Any]) -> bytes:
    return hashlib.blake2b(str(row.get("text", "")).encode(errors="replace"), digest_size=8).digest()
