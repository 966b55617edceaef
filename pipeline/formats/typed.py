"""What a JSON file says, as the dataclass it should be: no other types, no names that lead elsewhere.

Datasets and checkpoints travel. A name such as `../../x` in one must not read what lies beside it, and a
number that is a text must be told where it stands, not where it is first reckoned with.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pydantic

from pipeline.errors import FormatError

T = TypeVar("T")


def below(name: str) -> str:
    """Return the name of a file that can only lie below the one that names it; ValueError for any other."""
    if "\0" in name or any(part in ("", ".", "..") for part in name.split("/")):
        raise ValueError(f"{name!r} names no file below this directory")
    return name


def inside(directory: Path, name: str, said_by: Path) -> Path:
    """Return the path of a name inside a directory; FormatError, naming who says it, if it leads out."""
    try:
        return directory / below(name)
    except ValueError as fault:
        raise FormatError(f"{said_by}: {fault}; restore it or make it again") from None


Below = Annotated[str, pydantic.AfterValidator(below)]


def typed(kind: type[T], values: Mapping[str, Any], path: Path, remedy: str) -> T:
    """Return the dataclass of a file's values; FormatError names the file and the first wrong value."""
    unknown = sorted(set(values) - {field.name for field in dataclasses.fields(kind)})  # type: ignore[arg-type]
    if unknown:
        raise FormatError(f"{path}: {unknown[0]}: unknown key; {remedy}")
    try:
        found: T = _adapter(kind).validate_python(values)  # type: ignore[arg-type]
        return found
    except pydantic.ValidationError as fault:
        error = fault.errors()[0]
        place = ".".join(map(str, error["loc"]))
        message = error["msg"].removeprefix("Value error, ")
        got = "" if error["type"] in ("value_error", "missing") else f", got {str(error['input'])[:80]!r}"
        raise FormatError(f"{path}: {place}: {message[:1].lower()}{message[1:]}{got}; {remedy}") from None


@functools.cache
def _adapter(kind: type[Any]) -> Any:
    return pydantic.TypeAdapter(kind)
