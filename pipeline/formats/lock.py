"""One writer at a time: a lock that its holder's end releases, however it ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.errors import StageError
from pipeline.formats.publish import make_directory

# The children of a killed command end themselves within seconds; the command is not refused because of them.
PATIENCE_SECONDS = 15.0


@contextmanager
def sole_writer(path: Path, refusal: str) -> Iterator[None]:
    """Hold the lock file `path`; StageError with `refusal` if another process keeps it."""
    make_directory(path.parent)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=PATIENCE_SECONDS)
    except Timeout:
        raise StageError(refusal) from None
    try:
        yield
    finally:
        lock.release()
