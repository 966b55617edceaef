"""Work that is done block by block, done to its end."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any


def result_of(blocks: Generator[None, None, Any]) -> Any:
    """Return what a generator returns in the end."""
    while True:
        try:
            next(blocks)
        except StopIteration as end:
            return end.value
