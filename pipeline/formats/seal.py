"""A JSON file with the sum of its own content in it, so that a byte changed since it was written is found.

A file without a seal is read as it is: older versions wrote none, and others may write such files by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import blake3
import orjson

from pipeline.errors import FormatError
from pipeline.formats.publish import as_json, read_json

SEAL = "seal"
_BY = "blake3:"  # how a seal's value begins, by which one is known whose own name was damaged


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with the BLAKE3 of their content, whatever their order and layout."""
    return {**values, SEAL: _sum(orjson.loads(as_json(values)))}


def unsealed(path: Path, values: Any, remedy: str) -> Any:
    """Return what a file held without its seal; FormatError with both sums if the content was changed."""
    if not isinstance(values, dict):
        return values
    if SEAL not in values:
        if any(str(value).startswith(_BY) for value in values.values()):
            raise FormatError(f"{path}: the name of its seal was changed since it was written; {remedy}")
        return values
    content = {name: value for name, value in values.items() if name != SEAL}
    if (found := _sum(content)) != values[SEAL]:
        raise FormatError(
            f"{path}: its content is {found}, but was sealed as {values[SEAL]!r}: it was changed"
            f" since it was written; {remedy}"
        )
    return content


def read_sealed(path: Path, remedy: str) -> dict[str, Any]:
    """Return an object's content without its seal; FormatError if it is missing, damaged or no object."""
    values = unsealed(path, read_json(path), remedy)
    if not isinstance(values, dict):
        raise FormatError(f"{path}: not an object of JSON; {remedy}")
    return values


def _sum(content: Mapping[str, Any]) -> str:
    return _BY + blake3.blake3(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
