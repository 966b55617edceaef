"""Files read whatever they are packed with."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pipeline.errors import FormatError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

OPENERS: dict[str, Any] = {".bz2": bz2.open, ".gz": gzip.open, ".xz": lzma.open, ".zst": zstd.open}
_FAULTS = (EOFError, OSError, lzma.LZMAError, zlib.error, zstd.ZstdError)


@contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file's content; FormatError, also from inside the block, if it is cut off or damaged."""
    try:
        with OPENERS.get(path.suffix, open)(path, "rb") as file:
            yield file
    except _FAULTS as fault:
        what = str(fault) or type(fault).__name__
        raise FormatError(f"{path}: cannot be read to its end ({what}); get it again") from None


def kind_of(path: Path) -> str:
    """Return the ending that says what a file holds: `.xml` of `dump.xml.bz2`."""
    return Path(path.stem).suffix if path.suffix in OPENERS else path.suffix
