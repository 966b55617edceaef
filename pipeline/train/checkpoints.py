"""Checkpoints written while training goes on: every process its own shard, in a thread.

Threads only write; what the processes must know of each other they say at step boundaries, so a process that
dies or cannot write leaves nobody waiting. The first process publishes once all have written.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from launch.environment import rank, world_size
from pipeline.errors import StageError
from pipeline.formats.checkpoint import Meta, name_of, take_sum
from pipeline.formats.run import RunWriter
from pipeline.trainer import state
from pipeline.trainer.collective import from_first, gathered, largest
from pipeline.trainer.engine import Engine, Pending
from pipeline.trainer.tracker import Row

Weights = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """What is kept of a run's checkpoints, and whether training goes on while they are written."""

    keep: int
    keep_every_steps: int | None
    asynchronous: bool


class Saver:
    """The checkpoints of a run; at most one is on its way. Every method but `abandon` is collective.

    `save_model` writes the weights into a folder, `track` takes the event of each published checkpoint.
    """

    def __init__(
        self,
        engine: Engine,
        writer: RunWriter | None,
        keeping: Keeping,
        save_model: Callable[[Path, Weights], None],
        track: Callable[[Row], None],
    ):
        self._engine, self._writer, self._keeping = engine, writer, keeping
        self._save_model, self._track = save_model, track
        self._flight: _Flight | None = None

    def save(self, meta: Meta, prune: bool = True) -> None:
        """Copy what is to be saved and begin to write it; old checkpoints go afterwards if `prune`.

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
            write = self._begin(draft)
            self._flight = _Flight(meta, write, sums, prune, stack.pop_all())
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
        running, failed = largest([self._flight.write.running, bool(self._flight.write.failure)])
        if failed or not running:
            self._land(self._flight)

    def finish(self) -> None:
        """Wait for the checkpoint on its way, if there is one, and publish it."""
        if self._flight is not None:
            self._land(self._flight)

    def abandon(self) -> None:
        """Discard the checkpoint on its way: this process cannot go on. Waits for its own thread alone."""
        if self._flight is not None:
            self._flight.write.join()
            self._flight.discard()
            self._flight = None

    def _begin(self, draft: Path) -> _Write:
        """Stage the state and start this process's thread."""
        pending: Pending | None = None
        failure = ""
        try:
            pending = self._engine.save_state(draft / "state")
            if not self._keeping.asynchronous:
                pending.wait()  # its copies are freed before the weights are copied too
        except OSError as fault:
            failure = str(fault)
        weights = self._engine.weights()  # collective, so also after a failure of this process's own
        return _Write(draft, pending, weights, self._save_model, failure)

    def _land(self, flight: _Flight) -> None:
        """Wait for this process's part, learn of the others', and publish or give up together."""
        begun = time.perf_counter()
        flight.write.join()
        self._flight = None
        parts = gathered((flight.write.failure, flight.write.sums))
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
                "write_seconds": round(flight.write.seconds, 3),
            }
        )

    def _refusal(self, meta: Meta, failures: list[tuple[int, str]]) -> str:
        told = "; ".join(f"rank {number}: {failure}" for number, failure in failures)
        return (
            f"checkpoint {name_of(meta.step)} could not be written ({told}); nothing of it was published."
            " Once that is put right, the same command goes on from the checkpoint before"
        )


class _Write:
    """One process's part of a checkpoint, written in a thread; `failure` says what went wrong."""

    def __init__(
        self,
        draft: Path,
        pending: Pending | None,
        weights: Weights | None,
        save_model: Callable[[Path, Weights], None],
        failure: str,
    ):
        self._draft, self._save_model = draft, save_model
        self.failure, self.sums, self.seconds = failure, dict[str, str](), 0.0
        self._thread = threading.Thread(target=self._run, args=(pending, weights), name="checkpoint")
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def join(self) -> None:
        self._thread.join()

    def _run(self, pending: Pending | None, weights: Weights | None) -> None:
        begun = time.perf_counter()
        try:
            if pending is not None:
                pending.wait()
            if weights is not None:
                self._save_model(self._draft / "model", weights)
            if not self.failure:
                self.sums = {path.relative_to(self._draft).as_posix(): take_sum(path) for path in self._own()}
        except Exception as fault:
            # Libraries have errors of their own for a full disk; whatever it is, no thread may lose it.
            self.failure = f"{type(fault).__name__}: {fault}"
        self.seconds = time.perf_counter() - begun

    def _own(self) -> list[Path]:
        """Return the files that this process wrote: names, not a listing, which may lag behind on a share."""
        shard = self._draft / "state" / state.file_of(rank(), world_size())
        if rank() > 0:
            return [shard]
        model = sorted(path for path in (self._draft / "model").rglob("*") if path.is_file())
        return [shard, self._draft / "state" / state.INDEX, *model]


@dataclass
class _Flight:
    """A checkpoint on its way. `draft` publishes when it is closed."""

    meta: Meta
    write: _Write
    sums: dict[str, str]
    prune: bool
    draft: ExitStack
    blocked_seconds: float = 0.0

    def publish(self) -> None:
        self.draft.close()

    def discard(self) -> None:
        self.draft.__exit__(StageError, StageError("discarded"), None)
