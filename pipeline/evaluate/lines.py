"""The lines of a set's file, with their numbers for messages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import FormatError


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield each line, its end included, by its number from 1; FormatError names one that is not UTF-8.

    Only a newline ends a line: the other characters that Python splits at stand within sentences.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield number, line.decode()
            except UnicodeDecodeError as fault:
                raise FormatError(f"{path}:{number}: not UTF-8 ({fault.reason}); get the file anew") from None
