"""Files outside a dataset that decide what is in it: found by pattern, told apart by a fingerprint.

A dump that grew, a block list that was edited or a take-down request that came in makes the phase that reads
it, and everything after, undone. Inputs that are gone (140 GB of dumps need not be kept) change nothing.
"""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pipeline.errors import ConfigError

# Dumps are large and begin and end differently whenever they differ at all; hashing them whole at each start
# would take minutes.
_SAMPLE_BYTES = 1 << 16


def matching(where: str, patterns: Sequence[str]) -> list[Path]:
    """Return the files of paths and glob patterns, sorted; ConfigError names every one without a file.

    A folder stands for all files below it.
    """
    found = {pattern: _matching(pattern) for pattern in patterns}
    missing = [pattern for pattern in patterns if not found[pattern]]
    if missing:
        raise ConfigError(
            [f"{where}: {pattern}: no such file; give a path or a glob pattern" for pattern in missing]
        )
    return sorted({path for paths in found.values() for path in paths})


def all_matching(patterns: Mapping[str, Sequence[str]]) -> list[Path]:
    """Return the files of each place's paths and patterns; ConfigError names every one without a file."""
    problems: list[str] = []
    files: list[Path] = []
    for where, each in patterns.items():
        try:
            files += matching(where, each)
        except ConfigError as fault:
            problems += fault.problems
    if problems:
        raise ConfigError(problems)
    return files


def fingerprints(paths: Iterable[Path]) -> dict[str, str]:
    """Return for each file a hash of its size, its beginning and its end."""
    return {str(path): _fingerprint(path) for path in paths}


def _matching(pattern: str) -> list[Path]:
    path = Path(pattern)
    if path.is_file():
        return [path]  # also where its name has characters that mean something in a pattern
    names = glob.glob(f"{pattern}/**" if path.is_dir() else pattern, recursive=True)  # noqa: PTH207 - absolute
    return [path for path in map(Path, names) if path.is_file()]


def _fingerprint(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.blake2b(size.to_bytes(8, "little"), digest_size=8)
    with path.open("rb") as file:
        digest.update(file.read(_SAMPLE_BYTES))
        file.seek(max(0, size - _SAMPLE_BYTES))
        digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()
