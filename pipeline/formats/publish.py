"""Write beside, fsync, rename: whatever another process may read appears whole or not at all.

A temporary is called ``.NAME.partial-PID-START`` and lies in the directory of its target, so that the
rename stays on one file system. PID and START (the process's start time, 0 where nobody can tell) tell a
dead writer's leftovers from a live writer's work.
"""

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import blake3
import orjson

from launch.process import beginning, is_alive
from pipeline.errors import FormatError

_PARTIAL = re.compile(r"^\..+\.partial-(\d+)-(\d+)-\d+$")
_serial = count()


@contextmanager
def publishing(target: Path) -> Iterator[Path]:
    """Yield a temporary path; make it a file or a directory, and it becomes `target` at the end.

    Replaces an existing file, refuses to replace an existing directory (FileExistsError).
    On an exception the temporary is removed and `target` stays as it was; a full disk is an OSError that
    names the target, whichever library met it.
    """
    if target.is_dir():
        raise FileExistsError(f"{target}: already there; published directories are never replaced")
    make_directory(target.parent)
    writer = f"{os.getpid()}-{beginning(os.getpid()) or 0}"
    draft = target.parent / f".{target.name}.partial-{writer}-{next(_serial)}"
    try:
        yield draft
        _sync(draft)
        draft.rename(target)
    except BaseException as failure:
        _remove(draft)
        if is_full_disk(failure):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target)) from failure
        raise
    _sync_directory(target.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace the file's content in one step."""
    with publishing(path) as draft:
        draft.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Replace the file's text in one step (UTF-8)."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Replace the file's content by indented JSON; non-finite numbers become null."""
    write_bytes(path, as_json(value))


def as_json(value: Any) -> bytes:
    """Return what `write_json` writes."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY
    return orjson.dumps(value, default=_plain, option=options)


def read_json(path: Path) -> Any:
    """Return the parsed file; FormatError names the file and the place of a fault."""
    try:
        return orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise FormatError(f"{path}: no such file") from None
    except orjson.JSONDecodeError as fault:
        raise FormatError(
            f"{path}:{fault.lineno}: not valid JSON ({fault.msg}); restore or rebuild it"
        ) from None


def read_format(path: Path, expected: int, remedy: str) -> dict[str, Any]:
    """Return the parsed file, which says its format; FormatError with the remedy if it is of another one."""
    values = read_json(path)
    found = values.get("format") if isinstance(values, dict) else None
    if found != expected:
        raise FormatError(f"{path}: format {found!r}, this version reads {expected}; {remedy}")
    return dict(values)


def make_directory(path: Path) -> None:
    """Make a directory and those it lies in, each with its name on the disk: else all in it could be lost."""
    missing = [each for each in (path, *path.parents) if not each.is_dir()]
    path.mkdir(parents=True, exist_ok=True)
    for made in reversed(missing):
        _sync_directory(made.parent)


def remove_leftovers(directory: Path) -> list[Path]:
    """Remove the temporaries of writers that no longer run, at any depth, and return their paths."""
    removed = []
    for folder, names, files in os.walk(directory):
        for name in [*names, *files]:
            match = _PARTIAL.match(name)
            if match and not is_alive(int(match[1]), int(match[2]) or None):
                _remove(Path(folder, name))
                removed.append(Path(folder, name))
        names[:] = [name for name in names if not _PARTIAL.match(name)]
    return removed


def is_full_disk(failure: BaseException) -> bool:
    """Tell a full disk; libraries below Python (safetensors, duckdb) have errors of their own for it."""
    if isinstance(failure, OSError):
        return failure.errno in (errno.ENOSPC, errno.EDQUOT)
    return any(words in str(failure) for words in (os.strerror(errno.ENOSPC), f"(os error {errno.ENOSPC})"))


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def blake3_of(path: Path) -> str:
    """Return the BLAKE3 of a file as hex."""
    return blake3.blake3(max_threads=blake3.blake3.AUTO).update_mmap(path).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _sync(path: Path) -> None:
    if path.is_dir():
        for folder, _, files in os.walk(path):
            for name in files:
                _sync_file(Path(folder, name))
            _sync_directory(Path(folder))
    else:
        _sync_file(path)


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
