"""A run: one training's directory, with one writer at a time.

config.yaml                 resolved; itself a valid config
attempts/000.json …         one per start: plan, versions, hardware, why it ended
metrics.jsonl               one row per logged step, validation and event
metrics.attempt-NNN.jsonl   rows of attempt NNN beyond a checkpoint that was gone back to
checkpoints/                see `pipeline.formats.checkpoint`
logs/                       of jobs started with `--on`, see `launch.launcher.Job` and `launch.rank`
logs/hang/                  what processes left that found no progress, see `pipeline.trainer.hang`
exit.json                   why the last process ended, for launchers; absent while one runs
stop                        its presence asks the process to save a checkpoint and end
writer.json, writer.lock    who writes: host, pid and epoch
"""

import logging
import math
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import blake3
import orjson

from pipeline.errors import FormatError, StageError
from pipeline.formats import checkpoint as checkpoints
from pipeline.formats.lock import sole_writer
from pipeline.formats.publish import remove_leftovers, write_bytes, write_json, write_text
from pipeline.formats.seal import read_sealed, sealed

_ATTEMPT = re.compile(r"^(\d{3,})\.json$")
_REMEDY = "restore it, or remove it to go on without what it tells"
_log = logging.getLogger("loglinear.run")


class Run:
    """A run directory as readers see it; nothing needs to exist yet."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.config = directory / "config.yaml"
        self.metrics = directory / "metrics.jsonl"
        self.checkpoint_folder = directory / checkpoints.FOLDER
        self.results = directory / "results"
        self.exit = directory / "exit.json"
        self._stop = directory / "stop"

    def checkpoints(self) -> list[Path]:
        """Return the checkpoints in the order of their steps, damaged ones included."""
        return checkpoints.listed(self.checkpoint_folder)

    @property
    def finished(self) -> bool:
        """Whether the newest checkpoint is the last of the horizon and none of its files is missing."""
        for checkpoint in reversed(self.checkpoints()):
            try:
                meta = checkpoints.Meta.read(checkpoint)
            except FormatError:
                return False
            return meta.complete and all((checkpoint / name).is_file() for name in meta.blake3)
        return False

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of metrics.jsonl; a last line torn by a kill is left out."""
        return _rows(self.metrics)

    def rewound_rows(self) -> list[dict[str, Any]]:
        """Return the rows that were moved away because later ones took their place."""
        files = sorted(self.directory.glob("metrics.attempt-*.jsonl"))
        return [row for file in files for row in _rows(file)]

    def attempts(self) -> list[dict[str, Any]]:
        """Return what each start of the run wrote down about itself, oldest first."""
        folder = self.directory / "attempts"
        names = sorted(path for path in folder.glob("*.json") if _ATTEMPT.match(path.name))
        return [read_sealed(path, _REMEDY) for path in names]

    def request_stop(self) -> None:
        """Ask the process that trains this run to save a checkpoint and end."""
        if not self.config.is_file():
            raise StageError(f"{self.directory}: no run is here (it has no config.yaml)")
        self._stop.touch()

    def stop_requested(self, since: float = 0.0) -> bool:
        """Tell whether a stop was asked for after a time (seconds since 1970)."""
        try:
            return self._stop.stat().st_mtime >= since
        except FileNotFoundError:
            return False

    def clear_stop(self) -> None:
        """Forget a request to stop that was honoured."""
        self._stop.unlink(missing_ok=True)


@contextmanager
def writing(directory: Path) -> Iterator["RunWriter"]:
    """Hold a run for writing; StageError names the process that has it, if one does."""
    refusal = f"{directory}: {_holder(directory)} is writing this run; stop it first, or wait"
    with sole_writer(directory / "writer.lock", refusal):
        writer = RunWriter(directory)
        try:
            yield writer
        finally:
            writer.close()


class RunWriter(Run):
    """A run directory as its one writer sees it; made by `writing`."""

    def __init__(self, directory: Path):
        super().__init__(directory)
        self._writer = directory / "writer.json"
        self.epoch = 1 + (self._epoch() if self._writer.is_file() else 0)
        identity = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "epoch": self.epoch,
            "started": time.time(),
        }
        write_json(self._writer, sealed(identity))
        for path in remove_leftovers(directory):
            _log.warning("%s: half written by a process that is gone; removed", path)
        checkpoints.remove_discarded(self.checkpoint_folder)
        self.exit.unlink(missing_ok=True)
        self.attempt = self._next_attempt()
        self._rows: Any = None

    def write_config(self, text: str) -> None:
        """Replace config.yaml."""
        write_text(self.config, text)

    def check_epoch(self) -> None:
        """Raise StageError if another writer has the run: locks can be lost on a shared file system."""
        if self._epoch() != self.epoch:
            raise StageError(
                f"{self.directory}: {_holder(self.directory)} took this run over; nothing was published"
            )

    def newest_whole(
        self, examine: Callable[[checkpoints.Meta], None] = lambda _: None
    ) -> tuple[Path, checkpoints.Meta] | None:
        """Return the newest whole checkpoint; damaged newer ones are named and renamed out of the way.

        `examine` is as in `checkpoint.newest_whole`. FormatError where there are checkpoints and none is
        whole, or where the rows up to the newest whole one are not those that it was saved with.
        """
        newest = checkpoints.newest_whole(self.checkpoint_folder, examine)
        found = self.checkpoints()
        if newest is None:
            if found:
                raise FormatError(
                    f"{self.checkpoint_folder}: none of its {len(found)} checkpoints is whole, as was told of"
                    " each; restore one, or remove them all to start the run again from its beginning"
                )
            return None
        self._check_rows(*newest)
        for checkpoint in found[found.index(newest[0]) + 1 :]:
            checkpoints.set_aside(checkpoint, self.attempt)
        return newest

    def rewind(self, step: int, rollbacks: int = 0, attempt: int | None = None) -> None:
        """Move the rows beyond a step, which will be written again, to the file of an attempt.

        By default that is the attempt before this one. Rows of a later rollback are beyond too.
        """
        self.check_epoch()
        self.close()
        if not self.metrics.is_file():
            return
        rows = self.rows()
        kept = [row for row in rows if row.get("step", 0) <= step and row.get("rollbacks", 0) <= rollbacks]
        whole = b"".join(map(_line, kept))
        if whole == self.metrics.read_bytes():
            return
        kept_ids = set(map(id, kept))
        beyond = b"".join(_line(row) for row in rows if id(row) not in kept_ids)
        if beyond:
            number = max(self.attempt - 1, 0) if attempt is None else attempt
            moved = self.directory / f"metrics.attempt-{number:03d}.jsonl"
            write_bytes(moved, (moved.read_bytes() if moved.is_file() else b"") + beyond)
        write_bytes(self.metrics, whole)

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row to metrics.jsonl; a number that is not finite becomes null, and an event says so.

        StageError where another writer has the run: no row of ours may come between its own.
        """
        self.check_epoch()
        odd = {
            key: value for key, value in row.items() if isinstance(value, float) and not math.isfinite(value)
        }
        lines = _line(row)
        if odd:
            values = {key: str(value) for key, value in odd.items()}
            lines += _line({"step": row.get("step", 0), "event": "non-finite", "values": values})
        try:
            if self._rows is None:
                self._rows = self.metrics.open("ab", buffering=0)
            left = memoryview(lines)
            while left:  # a disk that fills up takes a part of a line first
                left = left[self._rows.write(left) :]
        except OSError as fault:
            raise StageError(
                f"{self.metrics}: a row could not be written ({fault}). Once that is put right, the same"
                " command goes on from the newest checkpoint"
            ) from fault

    def publishing_checkpoint(
        self, meta: checkpoints.Meta, sums: Mapping[str, str] | None = None
    ) -> AbstractContextManager[Path]:
        """Yield a draft for `model/` and `state/`, published at the end if the run is still ours.

        `sums` is as in `checkpoint.writing`.
        """
        if self._rows is not None:
            os.fsync(self._rows.fileno())  # the rows up to a checkpoint must not be younger than it
        rows = self.metrics.read_bytes() if self.metrics.is_file() else b""
        meta = replace(meta, metrics={"bytes": len(rows), "blake3": blake3.blake3(rows).hexdigest()})
        return checkpoints.writing(self.checkpoint_folder, meta, self.check_epoch, sums)

    def retain(self, keep: int, keep_every_steps: int | None = None) -> None:
        """Remove all but the newest `keep` checkpoints, and those of every so many steps."""
        checkpoints.retain(self.checkpoint_folder, keep, keep_every_steps)

    def newest_good(
        self, is_good: Callable[[checkpoints.Meta], bool]
    ) -> tuple[Path, checkpoints.Meta] | None:
        """Return the newest whole checkpoint whose meta is good; those after it are removed."""
        self.check_epoch()
        while newest := self.newest_whole():
            if is_good(newest[1]):
                return newest
            checkpoints.discard(newest[0])
        return None

    def begin_attempt(self, record: Mapping[str, Any]) -> None:
        """Write down how this start looks."""
        self._record = {"attempt": self.attempt, **record, "ended": None}
        write_json(self._attempt_file, sealed(self._record))

    def end_attempt(self, reason: str, **details: Any) -> None:
        """Write down why this attempt ended; a killed one keeps `ended: null`."""
        self._record = {**self._record, "ended": {"reason": reason, "time": time.time(), **details}}
        write_json(self._attempt_file, sealed(self._record))

    def write_exit(self, reason: str, code: int, **details: Any) -> None:
        """Leave word for the launcher: the reason and the exit code that the job should have."""
        write_json(self.exit, {"reason": reason, "exit_code": code, "epoch": self.epoch, **details})

    def close(self) -> None:
        """Let go of the open files."""
        if self._rows is not None:
            self._rows.close()
            self._rows = None

    def _epoch(self) -> int:
        epoch = read_sealed(self._writer, _REMEDY).get("epoch")
        if not isinstance(epoch, int):
            raise FormatError(f"{self._writer}: epoch {epoch!r} is no number; {_REMEDY}")
        return epoch

    def _check_rows(self, checkpoint: Path, meta: checkpoints.Meta) -> None:
        """Raise FormatError unless metrics.jsonl begins with the rows that a checkpoint was saved with."""
        if not meta.metrics.get("bytes"):
            return
        size, expected = meta.metrics["bytes"], meta.metrics["blake3"]
        if not self.metrics.is_file():
            _log.warning(
                "%s: missing, but %s was saved with %d bytes of it; restore it, or its rows are lost",
                self.metrics, checkpoint, size,
            )  # fmt: skip
            return
        with self.metrics.open("rb") as file:
            found = blake3.blake3(file.read(size)).hexdigest()
        if found != expected:
            raise FormatError(
                f"{self.metrics}: its first {size} bytes have the blake3 {found},"
                f" {checkpoint / checkpoints.META} says {expected}; restore it, or move it away to go on"
                " without these rows"
            )

    @property
    def _attempt_file(self) -> Path:
        return self.directory / "attempts" / f"{self.attempt:03d}.json"

    def _next_attempt(self) -> int:
        found = [_ATTEMPT.match(path.name) for path in (self.directory / "attempts").glob("*.json")]
        numbers = {int(match[1]) for match in found if match}
        after = max(numbers, default=0 if self.checkpoints() else -1) + 1
        for number in sorted(set(range(after)) - numbers):
            _log.warning(
                "%s: missing; restore it, or what that start was like stays unknown",
                self.directory / "attempts" / f"{number:03d}.json",
            )
        return after


def _rows(path: Path) -> list[dict[str, Any]]:
    lines = path.read_bytes().splitlines() if path.is_file() else []
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(orjson.loads(line))
        except orjson.JSONDecodeError as fault:
            if number < len(lines):
                raise FormatError(
                    f"{path}:{number}: not valid JSON ({fault.msg}); restore or remove the line"
                ) from None
    return rows


def _line(row: Mapping[str, Any]) -> bytes:
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY)


def _holder(directory: Path) -> str:
    path = directory / "writer.json"
    found = read_sealed(path, _REMEDY) if path.is_file() else {}
    return f"process {found.get('pid', '?')} on {found.get('host', '?')} (epoch {found.get('epoch', '?')})"
