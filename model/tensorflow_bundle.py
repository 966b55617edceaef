"""TensorFlow's V2 checkpoints, as OpenAI released GPT-2: read without TensorFlow, every sum verified.

PREFIX.index is a table in LevelDB's format: blocks of sorted keys, each key without what it shares with the
one before it, each block followed by its compression and its sum; the last 48 bytes tell where the block is
that lists the blocks. Its values are Protocol Buffers: under the empty key a header, under each tensor's name
its type, shape and place in PREFIX.data-00000-of-00001, where the tensors lie as plain memory.
(tensorflow/core/protobuf/tensor_bundle.proto; LevelDB's doc/table_format.md.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.crc32c import crc32c, unmask

_FOOTER_BYTES = 48
_MAGIC = bytes.fromhex("57fb808b247547db")
_TRAILER_BYTES = 5  # of a block: its compression, its sum
_FLOAT32 = 1  # DT_FLOAT; as little-endian memory, or the header says otherwise
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5

_Fields = dict[int, list[int | bytes]]


class DamagedError(ValueError):
    """Bytes that are no table, no message, or not what their sum says."""


@dataclass(frozen=True)
class _Entry:
    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    masked_crc: int | None


class Bundle:
    """The tensors of a checkpoint by name; none is read before it is asked for.

    Raises FileNotFoundError if there is no index, ValueError naming the file if it is damaged or of a kind
    that is not read here (compressed, big-endian).
    """

    def __init__(self, prefix: Path):
        self._prefix = prefix
        self._index = prefix.with_name(f"{prefix.name}.index")
        if not self._index.is_file():
            raise FileNotFoundError(
                f"{self._index}: no such file; a checkpoint has it beside its .data files"
            )
        try:
            values = dict(_entries_of_table(self._index.read_bytes()))
            header = _message(values.pop(b"", b""))
            self._shards = _number(header, 1)
            if _number(header, 2):
                raise DamagedError("its tensors are big-endian")
            self._entries = {name.decode(): _entry(value) for name, value in values.items()}
        except (DamagedError, UnicodeDecodeError) as fault:
            raise ValueError(f"{self._index}: {fault}; fetch it again") from None

    def names(self) -> list[str]:
        """Return the names of all tensors, sorted."""
        return sorted(self._entries)

    def tensor(self, name: str) -> npt.NDArray[np.float32]:
        """Return a tensor; ValueError if it is none of float32, or not what its sum says."""
        entry = self._entries[name]
        if entry.dtype != _FLOAT32 or entry.size != 4 * math.prod(entry.shape):
            raise ValueError(
                f"{self._index}: {name} is of data type {entry.dtype} in {entry.size} bytes for shape "
                f"{entry.shape}, but only float32 (data type {_FLOAT32}) is read"
            )
        path = self._prefix.with_name(f"{self._prefix.name}.data-{entry.shard:05d}-of-{self._shards:05d}")
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file, but {self._index.name} has tensors in it")
        if path.stat().st_size < entry.offset + entry.size:
            raise ValueError(
                f"{path}: cut off at {path.stat().st_size:,} bytes, but {name} ends at "
                f"{entry.offset + entry.size:,}; fetch it again"
            )
        found = np.fromfile(path, dtype="<f4", count=entry.size // 4, offset=entry.offset)
        if entry.masked_crc is not None and crc32c(found) != unmask(entry.masked_crc):
            raise ValueError(
                f"{path}: the bytes of {name} are not what {self._index.name} sums; fetch it again"
            )
        return found.reshape(entry.shape)


def _entries_of_table(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a table; DamagedError if it is none, or damaged."""
    footer = table[-_FOOTER_BYTES:]
    if len(footer) < _FOOTER_BYTES or not footer.endswith(_MAGIC):
        raise DamagedError("not a whole index of a TensorFlow V2 checkpoint")
    at = 0
    for _ in range(2):  # the place of the block of metadata, which nothing here needs
        _, at = _varint(footer, at)
    for _, handle in _entries_of_block(_block(table, footer[at:])):
        yield from _entries_of_block(_block(table, handle))


def _block(table: bytes, handle: bytes) -> bytes:
    offset, at = _varint(handle, 0)
    size, _ = _varint(handle, at)
    content, trailer = table[offset : offset + size], table[offset + size : offset + size + _TRAILER_BYTES]
    if len(trailer) < _TRAILER_BYTES:
        raise DamagedError(f"a block at byte {offset} goes past its end")
    if crc32c(content + trailer[:1]) != unmask(int.from_bytes(trailer[1:], "little")):
        raise DamagedError(f"the block at byte {offset} is not what its sum says")
    if trailer[0]:
        raise DamagedError(
            f"the block at byte {offset} is compressed, which TensorFlow's own writer never does"
        )
    return content


def _entries_of_block(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    restarts = int.from_bytes(block[-4:], "little")  # places where whole keys stand, for searching
    end, at, key = len(block) - 4 * (restarts + 1), 0, b""
    while at < end:
        shared, at = _varint(block, at)
        unshared, at = _varint(block, at)
        size, at = _varint(block, at)
        key = key[:shared] + block[at : at + unshared]
        at += unshared + size
        yield key, block[at - size : at]


def _entry(value: bytes) -> _Entry:
    """Return a BundleEntryProto."""
    fields = _message(value)
    dimensions = [each for shape in _messages(fields, 2) for each in _messages(shape, 2)]
    if 7 in fields:
        raise DamagedError("a tensor is stored in slices, which are not read here")
    return _Entry(
        dtype=_number(fields, 1),
        shape=tuple(_number(dimension, 1) for dimension in dimensions),
        shard=_number(fields, 3),
        offset=_number(fields, 4),
        size=_number(fields, 5),
        masked_crc=_number(fields, 6) if 6 in fields else None,
    )


def _message(content: bytes) -> _Fields:
    """Return the fields of a Protocol Buffers message by number, each with its values in their order."""
    fields: _Fields = {}
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        number, kind = tag >> 3, tag & 7
        value: int | bytes
        if kind == _VARINT:
            value, at = _varint(content, at)
        else:
            size = {_FIXED64: 8, _FIXED32: 4}.get(kind)
            if kind == _DELIMITED:
                size, at = _varint(content, at)
            if size is None or at + size > len(content):
                raise DamagedError(f"a message breaks off, or holds a field of kind {kind}")
            value, at = content[at : at + size], at + size
        fields.setdefault(number, []).append(value)
    return fields


def _messages(fields: _Fields, number: int) -> list[_Fields]:
    return [_message(value) for value in fields.get(number, []) if isinstance(value, bytes)]


def _number(fields: _Fields, number: int) -> int:
    """Return a field that is a number, 0 where it is absent, as Protocol Buffers have it."""
    value = fields.get(number, [0])[-1]
    return value if isinstance(value, int) else int.from_bytes(value, "little")


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """Return a number in base 128, lowest digits first, and the place after it."""
    number = 0
    for place, byte in enumerate(content[at : at + 10]):
        number |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return number, at + place + 1
    raise DamagedError(f"a number breaks off at byte {at}")
