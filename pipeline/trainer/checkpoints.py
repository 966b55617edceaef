"""Checkpoints written while training goes on: every process its own shard, in a thread.

Threads only write; what the processes must know of each other they say at step boundaries, so a process that
dies or cannot write leaves nobody waiting. The first process publishes once all have written.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.errors import StageError
from pipeline.formats.checkpoint import Meta, name_of
from pipeline.formats.run import RunWriter
from pipeline.trainer.collective import from_first, gathered, largest
from pipeline.trainer.engine import Engine, Pending
from pipeline.trainer.state import Snapshot, Writing
from pipeline.trainer.tracker import Row


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """What is kept of a run's checkpoints, and whether training goes on while they are written."""

    keep: int
    keep_every_steps: int | None
    asynchronous: bool


class Saver:
    """The checkpoints of a run; at most one is on its way. Every method but `abandon` is collective.

    `write_model` writes a snapshot's weights into a folder, `track` takes the event of each published
    checkpoint.
    """

    def __init__(
        self,
        engine: Engine,
        writer: RunWriter | None,
        keeping: Keeping,
        write_model: Callable[[Path, Snapshot], Writing],
        track: Callable[[Row], None],
    ):
        self._engine, self._writer, self._keeping = engine, writer, keeping
        self._write_model, self._track = write_model, track
        self._flight: _Flight | None = None

    def save(self, meta: Meta, prune: bool = True) -> None:
        """Begin to write what is to be saved; old checkpoints go afterwards if `prune`.

        Raises StageError, on every process, where one of them could not write this checkpoint or the last.
        """
        self.finish()
        begun = time.perf_counter()
        with ExitStack() as stack:
            sums: dict[str, str] = {}
            draft, failure = None, ""
            try:
                if self._writer is not None:
                    draft = stack.enter_context(self._writer.publishing_checkpoint(meta, sums))
            except OSError as fault:
                failure = str(fault)
            draft, failure = from_first((draft, failure))
            if draft is None:
                raise StageError(self._refusal(meta, [(0, failure)]))
            pending = self._engine.save_state(draft / "state", partial(self._write_model, draft / "model"))
            self._flight = _Flight(meta, draft, pending, sums, prune, stack.pop_all())
        self._flight.blocked_seconds = time.perf_counter() - begun
        if not self._keeping.asynchronous:
            self.finish()

    @property
    def busy(self) -> bool:
        """Whether a checkpoint is on its way, on every process alike."""
        return self._flight is not None

    def poll(self) -> None:
        """Publish the checkpoint on its way if every process has written its part; does not wait."""
        if self._flight is None:
            return
        pending = self._flight.pending
        running, failed = largest([pending.running, pending.failure is not None])
        if failed or not running:
            self._land(self._flight)

    def finish(self) -> None:
        """Wait for the checkpoint on its way, if there is one, and publish it."""
        if self._flight is not None:
            self._land(self._flight)

    def abandon(self) -> None:
        """Discard the checkpoint on its way: this process cannot go on. Waits for its own thread alone."""
        if self._flight is not None:
            self._flight.pending.abandon()
            self._flight.discard()
            self._flight = None

    def _land(self, flight: _Flight) -> None:
        """Wait for this process's part, learn of the others', and publish or give up together."""
        begun = time.perf_counter()
        part = flight.written()
        self._flight = None
        parts = gathered(part)
        failures = [(number, failure) for number, (failure, _) in enumerate(parts) if failure]
        if failures:
            flight.discard()
        elif self._writer is not None:
            for _, sums in parts:
                flight.sums.update(sums)
            try:
                flight.publish()
                if flight.prune:
                    self._writer.retain(self._keeping.keep, self._keeping.keep_every_steps)
            except (OSError, StageError) as fault:
                failures = [(0, str(fault))]
        # The first process's word also tells the others that everything is in its place.
        failures = from_first(failures)
        if failures:
            raise StageError(self._refusal(flight.meta, failures))
        flight.blocked_seconds += time.perf_counter() - begun
        self._track(
            {
                "step": flight.meta.step,
                "event": "checkpoint",
                "seconds": round(flight.blocked_seconds, 3),
                "write_seconds": round(flight.pending.seconds, 3),
            }
        )

    def _refusal(self, meta: Meta, failures: list[tuple[int, str]]) -> str:
        told = "; ".join(f"rank {number}: {failure}" for number, failure in failures)
        return (
            f"checkpoint {name_of(meta.step)} could not be written ({told}); nothing of it was published."
            " Once that is put right, the same command goes on from the checkpoint before"
        )


@dataclass
class _Flight:
    """A checkpoint on its way. `publishing` puts the draft in its place when it is closed."""

    meta: Meta
    draft: Path
    pending: Pending
    sums: dict[str, str]
    prune: bool
    publishing: ExitStack
    blocked_seconds: float = 0.0

    def written(self) -> tuple[str, dict[str, str]]:
        """Wait for this process's part: return what went wrong, and the sums of its files."""
        try:
            sums = self.pending.wait()
        except Exception as fault:
            # Libraries have errors of their own for a full disk; whatever it is, nobody may lose it.
            return f"{type(fault).__name__}: {fault}", {}
        return "", {path.relative_to(self.draft).as_posix(): found for path, found in sums.items()}

    def publish(self) -> None:
        self.publishing.close()

    def discard(self) -> None:
        self.publishing.__exit__(StageError, StageError("discarded"), None)
