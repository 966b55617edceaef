"""Ways in which a file goes bad, each sure to change it: no byte is ever written back as it was."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

BLOCK_BYTES = 4096
Damage = Callable[[Path, random.Random], None]


def flipped(path: Path, chance: random.Random) -> None:
    """Flip one bit."""
    _change(path, lambda content: _xor(content, chance.randrange(len(content)), 1 << chance.randrange(8)))


def inverted(path: Path, chance: random.Random) -> None:
    """Invert a byte."""
    _change(path, lambda content: _xor(content, chance.randrange(len(content)), 0xFF))


def zeroed(path: Path, chance: random.Random) -> None:
    """Zero a block of 4 KiB, or what there is of it; one that is zero already is inverted instead."""

    def change(content: bytearray) -> None:
        start = chance.randrange(0, len(content), BLOCK_BYTES)
        block = content[start : start + BLOCK_BYTES]
        zeros = bytes(len(block))
        content[start : start + BLOCK_BYTES] = zeros if block != zeros else b"\xff" * len(block)

    _change(path, change)


def truncated(path: Path, chance: random.Random) -> None:
    """Cut the end off; of a text more than its last line break."""
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(max(1, len(content) - 1))])


def extended(path: Path, chance: random.Random) -> None:
    """Add bytes that are no white space."""
    with path.open("ab") as file:
        file.write(chance.randbytes(chance.randint(0, BLOCK_BYTES)) + b"?")


def missing(path: Path, chance: random.Random) -> None:
    """Remove the file."""
    path.unlink()


DAMAGES: dict[str, Damage] = {
    "bit flipped": flipped,
    "byte inverted": inverted,
    "4 KiB zeroed": zeroed,
    "truncated": truncated,
    "extended": extended,
    "missing": missing,
}


def swap(one: Path, other: Path) -> None:
    """Exchange two files."""
    between = one.with_name("between")
    shutil.move(one, between)
    shutil.move(other, one)
    shutil.move(between, other)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file below a folder, by its path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def _xor(content: bytearray, place: int, mask: int) -> None:
    content[place] ^= mask


def _change(path: Path, change: Callable[[bytearray], None]) -> None:
    content = bytearray(path.read_bytes())
    change(content)
    assert content != path.read_bytes()
    path.write_bytes(content)
