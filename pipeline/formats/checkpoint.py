"""A checkpoint: everything needed to go on, published whole, each file with its sum.

    step-00010000/
      model/       the weights as Hugging Face's `gpt2` lays them out
      state/       the engine-neutral training state
      meta.json    written last and sealed: what this is, and the BLAKE3 of every other file

A directory without a readable meta.json, or with a file missing or changed, is damaged: readers name it and
take the newest whole one.
"""

import errno
import fcntl
import logging
import mmap
import os
import re
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import blake3
import numpy as np

from pipeline.errors import FormatError
from pipeline.formats.publish import as_json, blake3_of, publishing, read_format
from pipeline.formats.seal import sealed, unsealed
from pipeline.formats.typed import Below, typed

FORMAT = 1
META = "meta.json"
FOLDER = "checkpoints"
BLOCK_BYTES = 8 * 2**20
"""What is hashed and written at once: large enough for a disk's, or a share's, full speed."""
_REMEDY = "restore it or go on from another checkpoint"

_NAME = re.compile(r"^step-(\d{8,})$")
_DISCARDED = re.compile(r"^\.discarded-")
_log = logging.getLogger("loglinear.checkpoint")


@dataclass(frozen=True, kw_only=True)
class Meta:
    """What a checkpoint says of itself.

    `skipped` lists intervals [start, end) of the stream of windows that were left out; `watch` is what the
    rule for spikes remembers; `complete` marks the end of the run's horizon; `epoch` counts the writers that
    the run has had; `identity` is the configuration's; `metrics` has the `bytes` of metrics.jsonl up to this
    step and their `blake3`; `blake3` maps each file, by its path inside the checkpoint, to its sum.
    """

    step: int
    tokens: int
    complete: bool
    engine: str
    world_size: int
    epoch: int
    config_hash: str
    data_hash: str
    skipped: tuple[tuple[int, int], ...] = ()
    watch: dict[str, Any] = field(default_factory=dict)
    identity: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    blake3: dict[Below, str] = field(default_factory=dict)
    format: int = FORMAT

    @classmethod
    def read(cls, checkpoint: Path) -> "Meta":
        """Return a checkpoint's meta; FormatError if it is missing, unreadable or of another format."""
        path = checkpoint / META
        values = read_format(path, FORMAT, _REMEDY)
        meta = typed(cls, unsealed(path, values, _REMEDY), path, _REMEDY)
        if name_of(meta.step) != checkpoint.name and _NAME.match(checkpoint.name):
            raise FormatError(f"{path}: is of step {meta.step}, not of {checkpoint.name}; {_REMEDY}")
        return meta


def name_of(step: int) -> str:
    """Return the directory name of a step's checkpoint."""
    return f"step-{step:08d}"


def step_of(checkpoint: Path) -> int:
    """Return the step that a checkpoint's directory is named after."""
    return int(checkpoint.name.removeprefix("step-"))


def listed(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder in the order of their steps, damaged ones included."""
    found = [path for path in folder.iterdir() if _NAME.match(path.name)] if folder.is_dir() else []
    return sorted(found, key=step_of)


@contextmanager
def writing(
    folder: Path,
    meta: Meta,
    before_publishing: Callable[[], None],
    sums: Mapping[str, str] | None = None,
) -> Iterator[Path]:
    """Yield a draft for `model/` and `state/`; at the end sum its files, write meta.json and publish.

    `sums` may be filled on the way with those of files, by their paths inside the draft, that were summed
    while they were written. `before_publishing` may raise to keep a writer that has lost the run from
    publishing.
    """
    with publishing(folder / name_of(meta.step)) as draft:
        draft.mkdir()
        yield draft
        taken = dict(sums or {})
        found = {name: blake3_of(draft / name) for name in _files(draft) if name not in taken}
        whole = replace(meta, blake3=dict(sorted((taken | found).items())))
        (draft / META).write_bytes(as_json(sealed(asdict(whole))))
        before_publishing()


def write_summed(path: Path, pieces: Iterable[bytes | memoryview]) -> Generator[None, None, str]:
    """Write a file's pieces, bring it to the disk, and return the BLAKE3 taken on the way.

    Stops after each block, so that whoever runs it may leave the rest to another. The bytes go past the page
    cache where the file system can: nobody needs its copy, and the fresh pages for it take the kernel longer
    than all else here together.
    """
    digest, size = blake3.blake3(), 0  # on one thread: training goes on beside it
    buffer = memoryview(mmap.mmap(-1, BLOCK_BYTES))  # whole pages, as the disk takes them
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        _pass_by_cache(file, True)
        for filled in _fill(buffer, _summed(pieces, digest)):
            # What follows the end in the last page is cut off again.
            _write(file, buffer[: -(-filled // mmap.PAGESIZE) * mmap.PAGESIZE])
            size += filled
            yield
        os.ftruncate(file, size)
        os.fsync(file)
    finally:
        os.close(file)
    return digest.hexdigest()


def settle(path: Path) -> str:
    """Bring a small file to the disk, so that publishing has nothing left to wait for; return its BLAKE3."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return blake3_of(path)


def verify(checkpoint: Path, only: str = "") -> Meta:
    """Return the meta of a whole checkpoint; FormatError names the first file that is missing or changed.

    Of a part of it, `model/` for instance, with `only`.
    """
    meta = Meta.read(checkpoint)
    for name, expected in meta.blake3.items():
        path = checkpoint / name
        if not name.startswith(only):
            continue
        if not path.is_file():
            raise FormatError(f"{path}: missing, {META} names it; {_REMEDY}")
        if path.is_symlink():
            raise FormatError(f"{path}: a link, which may lead anywhere; put the file itself in its place")
        if (found := blake3_of(path)) != expected:
            raise FormatError(f"{path}: blake3 {found}, {META} says {expected}; {_REMEDY}")
    extra = [name for name in _files(checkpoint) if name not in {META, *meta.blake3}]
    if extra and not only:
        raise FormatError(
            f"{checkpoint / extra[0]}: not in {META}; remove it or go on from another checkpoint"
        )
    return meta


def newest_whole(folder: Path, examine: Callable[[Meta], None] = lambda _: None) -> tuple[Path, Meta] | None:
    """Return the newest checkpoint that verifies, and its meta; damaged newer ones are named in a warning.

    `examine` may raise FormatError for one that is whole, but does not belong here.
    """
    for checkpoint in reversed(listed(folder)):
        try:
            meta = verify(checkpoint)
            examine(meta)
            return checkpoint, meta
        except (FormatError, OSError) as fault:
            _log.warning("%s is damaged (%s); the newest whole one before it is used", checkpoint, fault)
    return None


def set_aside(checkpoint: Path, attempt: int) -> Path:
    """Rename a damaged checkpoint so that its step can be written again; nothing is deleted."""
    aside = checkpoint.with_name(f"damaged-{checkpoint.name}.attempt-{attempt:03d}")
    return checkpoint.rename(aside)


def retain(folder: Path, keep: int, keep_every_steps: int | None = None) -> list[Path]:
    """Remove all but the newest `keep` checkpoints, and those of every so many steps; return what went."""
    old = listed(folder)[:-keep]
    removed = [path for path in old if not keep_every_steps or step_of(path) % keep_every_steps]
    for checkpoint in removed:
        discard(checkpoint)
    return removed


def discard(checkpoint: Path) -> None:
    """Remove a checkpoint."""
    # A half-removed directory must not look like a damaged checkpoint: rename first, remove then.
    discarded = checkpoint.with_name(f".discarded-{checkpoint.name}")
    shutil.rmtree(checkpoint.rename(discarded), ignore_errors=True)


def remove_discarded(folder: Path) -> None:
    """Finish removals that a kill interrupted."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if _DISCARDED.match(path.name):
            shutil.rmtree(path, ignore_errors=True)


def _summed(pieces: Iterable[bytes | memoryview], digest: blake3.blake3) -> Iterator[bytes | memoryview]:
    for piece in pieces:
        digest.update(piece)
        yield piece


def _fill(buffer: memoryview, pieces: Iterable[bytes | memoryview]) -> Iterator[int]:
    """Lay the pieces into the buffer, again and again, and tell each time how much of it they fill."""
    filled = 0
    for piece in pieces:
        left = memoryview(piece)
        while left:
            fits = left[: len(buffer) - filled]
            # By numpy, which lets go of the interpreter's lock: others need not wait for the copy.
            np.copyto(
                np.frombuffer(buffer, np.uint8)[filled : filled + len(fits)], np.frombuffer(fits, np.uint8)
            )
            filled, left = filled + len(fits), left[len(fits) :]
            if filled == len(buffer):
                yield filled
                filled = 0
    if filled:
        yield filled


def _write(file: int, block: memoryview) -> None:
    while block:
        try:
            block = block[os.write(file, block) :]
        except OSError as fault:
            # Some file systems agree to pass the cache by, but not for this place or size.
            if fault.errno != errno.EINVAL or not _pass_by_cache(file, False):
                raise


def _pass_by_cache(file: int, wanted: bool) -> bool:
    """Ask for it or no longer ask for it; tell whether that changed anything."""
    flags, direct = fcntl.fcntl(file, fcntl.F_GETFL), getattr(os, "O_DIRECT", 0)
    if bool(flags & direct) == wanted:
        return False
    try:
        fcntl.fcntl(file, fcntl.F_SETFL, flags ^ direct)
    except OSError:  # a file system that cannot
        return False
    return True


def _files(checkpoint: Path) -> list[str]:
    return sorted(path.relative_to(checkpoint).as_posix() for path in checkpoint.rglob("*") if path.is_file())
