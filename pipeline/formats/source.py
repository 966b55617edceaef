"""Where evaluation sets come from: files of a local folder, or by name through `datasets`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import orjson

from pipeline.errors import ConfigError, FormatError

Row = TypeVar("Row")

READ_BYTES = 1 << 22


class MissingSet(ConfigError):  # noqa: N818 - what is missing, not what went wrong
    """A set that is not there: its name, where it was looked for and where to get it."""


@dataclass(frozen=True, kw_only=True)
class Hub(Generic[Row]):
    """A set on Hugging Face's hub, and how one of its rows is read."""

    path: str
    split: str
    row: Callable[[Mapping[str, Any]], Row]
    name: str | None = None
    revision: str | None = None


@dataclass(frozen=True, kw_only=True)
class Source(Generic[Row]):
    """A published set of examples.

    `layouts` are the ways in which its files may lie below the folder of sets, each with all the files it
    takes; names may hold wildcards, and the first layout that is whole is taken. `parse` reads the files of
    one, in that order, and raises FormatError with file and line for a row that is none. `sums` are the
    SHA-256 of files as they were published, by the name that the file has in a layout.
    """

    name: str
    layouts: tuple[tuple[str, ...], ...]
    parse: Callable[[Sequence[Path]], list[Row]]
    where: str
    sums: Mapping[str, str] = field(default_factory=dict)
    hub: Hub[Row] | None = None


@dataclass(frozen=True)
class Rows(Generic[Row]):
    """The rows of a set, and a hash of all that they were read from."""

    rows: list[Row]
    sha256: str


def read(source: Source[Row], folder: Path | None, check_sums: bool = True) -> Rows[Row]:
    """Return the rows of a set below a folder; without a folder, by its name through `datasets`.

    Raises MissingSet where it is not there, FormatError for a file that is not what was published (unless
    `check_sums` is off) or holds a row that is none.
    """
    if folder is None:
        return _from_hub(source)
    files = find(source, folder)
    sums = [_sha256(path) for path in files.values()]
    for (name, path), found in zip(files.items(), sums, strict=True):
        published = source.sums.get(name)
        if check_sums and published and found != published:
            raise FormatError(
                f"{path}: SHA-256 {found}, but {source.name} was published with {published}; get it anew "
                f"({source.where}), or set check_sums: false to use it as it is"
            )
    whole = sums[0] if len(sums) == 1 else hashlib.sha256("\n".join(sums).encode()).hexdigest()
    return Rows(_checked(source, source.parse(list(files.values())), str(folder)), whole)


def find(source: Source[Any], folder: Path) -> dict[str, Path]:
    """Return the files of a set by their names in the first layout that is whole; else MissingSet."""
    for layout in source.layouts:
        found = [sorted(folder.glob(name)) for name in layout]
        if all(found):
            return {
                name if len(paths) == 1 else path.relative_to(folder).as_posix(): path
                for name, paths in zip(layout, found, strict=True)
                for path in paths
            }
    looked = "; or ".join(" and ".join(layout) for layout in source.layouts)
    raise MissingSet(f"{source.name}: not below {folder} (looked for {looked}); get it from {source.where}")


def only(files: Sequence[Path]) -> Path:
    """Return the file of a set that has a single one; FormatError where a wildcard found it twice."""
    if len(files) > 1:
        raise FormatError(
            f"{files[0]} and {files[1]}: more than one of a set with one file; keep one of them"
        )
    return files[0]


def _from_hub(source: Source[Row]) -> Rows[Row]:
    hub = source.hub
    if hub is None:
        raise MissingSet(
            f"{source.name}: no public copy by name is known; give data=DIR with it ({source.where})"
        )
    try:
        import datasets

        found = datasets.load_dataset(hub.path, hub.name, split=hub.split, revision=hub.revision)
        rows = [dict(row) for row in found]
    except Exception as fault:  # whatever `datasets` and the network raise
        raise MissingSet(
            f"{source.name}: {hub.path} could not be had by name ({type(fault).__name__}: {fault}); "
            f"give data=DIR with it ({source.where})"
        ) from None
    content = b"\n".join(orjson.dumps(row, option=orjson.OPT_SORT_KEYS, default=str) for row in rows)
    read = [_hub_row(hub, number, row) for number, row in enumerate(rows)]
    return Rows(_checked(source, read, hub.path), hashlib.sha256(content).hexdigest())


def _hub_row(hub: Hub[Row], number: int, row: Mapping[str, Any]) -> Row:
    try:
        return hub.row(row)
    except (KeyError, AttributeError, TypeError, ValueError) as fault:
        raise FormatError(f"{hub.path}, row {number}: {type(fault).__name__}: {fault}") from None


def _checked(source: Source[Any], rows: list[Row], place: str) -> list[Row]:
    if not rows:
        raise FormatError(f"{place}: {source.name} is there but holds no row; get it anew ({source.where})")
    return rows


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            found.update(block)
    return found.hexdigest()
