"""Files on web servers as duckdb reads them: a file system of fsspec over ranged reads.

duckdb's own extension for this would have to be downloaded, and knows neither our address policy nor what a
server in trouble asks for; fsspec's asks for whole files to learn whether they are there.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.asyn import get_loop, sync
from fsspec.spec import AbstractBufferedFile

from pipeline.data.archive.ranges import HttpRanges, RangeError
from pipeline.errors import StageError

_BLOCK_BYTES = 1 << 20  # read ahead of what is asked for


class HttpFiles(AbstractFileSystem):  # type: ignore[misc]
    """Read-only files by URL."""

    protocol = ("http", "https")
    cachable = False

    def __init__(self, ranges: HttpRanges):
        super().__init__()
        self._ranges = ranges
        self.fault: Exception | None = None  # the last one; duckdb would show it inside a traceback
        self._size = cache(lambda url: self._now(ranges.size, url))

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path  # a URL is known by all of it

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return what there is to know of a file."""
        return {"name": path, "size": self._size(path), "type": "file"}

    def glob(self, path: str, **_: Any) -> list[str]:
        """Return the URL itself: web servers know no patterns."""
        return [path]

    def modified(self, _path: str) -> datetime:
        """Return the same date for all files: what is published in an archive does not change."""
        return datetime.fromtimestamp(0, UTC)

    def read_range(self, path: str, offset: int, length: int) -> bytes:
        """Return a piece of a file."""
        return bytes(self._now(self._ranges.read, path, offset, length))

    def _open(self, path: str, mode: str = "rb", **_: Any) -> AbstractBufferedFile:
        return _HttpFile(self, path, mode, block_size=_BLOCK_BYTES, size=self.info(path)["size"])

    def _now(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return sync(get_loop(), function, *arguments)
        except (RangeError, StageError) as fault:
            self.fault = fault
            raise OSError(str(fault)) from None


class _HttpFile(AbstractBufferedFile):  # type: ignore[misc]
    def _fetch_range(self, start: int, end: int) -> bytes:
        return self.fs.read_range(self.path, start, min(end, self.size) - start)  # type: ignore[no-any-return]


@contextmanager
def http_files(ranges: HttpRanges) -> Iterator[HttpFiles]:
    """Yield the files of these servers; their connections live on fsspec's own thread."""
    sync(get_loop(), ranges.__aenter__)
    try:
        yield HttpFiles(ranges)
    finally:
        sync(get_loop(), ranges.__aexit__)
