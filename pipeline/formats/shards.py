"""A token shard: ids as little-endian integers without a header, and beside it where each document ends.

The pair ``NAME.ds`` (uint16, or uint32 above 65,536 ids) and ``NAME.ds.index`` (uint64 cumulative document
ends) is byte for byte what datatrove writes; nanoGPT reads the first with ``numpy.memmap``.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.errors import FormatError
from pipeline.formats.publish import publishing, sha256_of
from pipeline.formats.typed import Below

MOST_UINT16_IDS = 65_536
Dtype = Literal["uint16", "uint32"]


@dataclass(frozen=True, kw_only=True)
class Shard:
    """What the manifest says of one shard; `name` is relative to the dataset directory."""

    name: Below
    tokens: int
    documents: int
    sha256: str
    index_sha256: str


def dtype_for(vocab_size: int) -> Dtype:
    """Return the type that holds every id of a vocabulary."""
    return "uint16" if vocab_size <= MOST_UINT16_IDS else "uint32"


class ShardWriter:
    """Write documents one after another; nothing is visible until `close`, nothing stays after `discard`."""

    def __init__(self, path: Path, dtype: str):
        self._path = path
        self._type = np.dtype(dtype).newbyteorder("<")
        self._publishing = publishing(path)
        self._file = self._publishing.__enter__().open("wb")
        self._sha256 = hashlib.sha256()
        self._ends: list[int] = []
        self._tokens = 0

    def write(self, ids: Sequence[int] | npt.NDArray[Any]) -> None:
        """Append one document, end-of-text id included."""
        data = np.asarray(ids, dtype=self._type).tobytes()
        self._file.write(data)
        self._sha256.update(data)
        self._tokens += len(ids)
        self._ends.append(self._tokens)

    def discard(self) -> None:
        """Give up: remove what was written."""
        with suppress(OSError):  # on a full disk, what is still to be written cannot be
            self._file.close()
        with suppress(_GivenUpError):
            self._publishing.__exit__(_GivenUpError, _GivenUpError(), None)

    def close(self) -> Shard:
        """Publish the index, then the shard, and return its entry for the manifest."""
        ends = np.asarray(self._ends, dtype="<u8").tobytes()
        try:
            self._file.close()
            with publishing(index_path(self._path)) as draft:
                draft.write_bytes(ends)
        except BaseException as failure:
            self._publishing.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._publishing.__exit__(None, None, None)
        return Shard(
            name=f"{self._path.parent.name}/{self._path.name}",
            tokens=self._tokens,
            documents=len(self._ends),
            sha256=self._sha256.hexdigest(),
            index_sha256=hashlib.sha256(ends).hexdigest(),
        )


class _GivenUpError(Exception):
    """A writer that was told to give up."""


class TokenShard:
    """A published shard, memory-mapped: `tokens` (tokens,) and `ends` (documents,)."""

    def __init__(self, path: Path, dtype: str):
        self.tokens = _map(path, dtype)
        self.ends = _map(index_path(path), "uint64")
        if len(self.ends) and int(self.ends[-1]) != len(self.tokens):
            raise FormatError(
                f"{index_path(path)}: ends at token {int(self.ends[-1])}, but {path.name} has "
                f"{len(self.tokens)}; rebuild the dataset"
            )


def index_path(path: Path) -> Path:
    """Return where the document ends of a shard lie."""
    return path.with_name(path.name + ".index")


def check_shard(dataset: Path, shard: Shard, dtype: str, hashes: bool = True) -> None:
    """Raise FormatError if a shard or its index is missing, has another length or another hash."""
    path = dataset / shard.name
    expected = {
        path: (shard.tokens * np.dtype(dtype).itemsize, shard.sha256),
        index_path(path): (shard.documents * 8, shard.index_sha256),
    }
    for file, (size, sha256) in expected.items():
        check_file(file, size, sha256, hashes)


def check_file(file: Path, size: int | None, sha256: str, hashes: bool = True) -> None:
    """Raise FormatError if a file is missing, or not of the size (where known) and hash that are expected."""
    if not file.is_file():
        raise FormatError(f"{file}: missing; restore it or rebuild the dataset")
    if size is not None and file.stat().st_size != size:
        raise FormatError(
            f"{file}: {file.stat().st_size} bytes, the manifest says {size}; restore or rebuild it"
        )
    if hashes and (found := sha256_of(file)) != sha256:
        raise FormatError(f"{file}: sha256 {found}, the manifest says {sha256}; restore or rebuild it")


def _map(path: Path, dtype: str) -> npt.NDArray[Any]:
    kind = np.dtype(dtype).newbyteorder("<")
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise FormatError(f"{path}: no such shard; restore it or rebuild the dataset") from None
    if size % kind.itemsize:
        raise FormatError(f"{path}: {size} bytes is no whole number of {dtype} values; restore or rebuild it")
    return np.memmap(path, dtype=kind, mode="r") if size else np.empty(0, dtype=kind)
