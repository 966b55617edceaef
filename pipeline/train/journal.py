"""What a run tells: rows and events to its trackers, and a record of each of its attempts."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from pipeline.config import kind_name, plain
from pipeline.formats.run import RunWriter
from pipeline.log import Progress
from pipeline.train.plan import Plan
from pipeline.train.rollback import Interval, with_skipped
from pipeline.train.stage import Config
from pipeline.trainer.collective import largest
from pipeline.trainer.hardware import Peak
from pipeline.trainer.meter import Meter, Past
from pipeline.trainer.origin import origin
from pipeline.trainer.spikes import reason
from pipeline.trainer.steps import Step
from pipeline.trainer.tracker import Row, Tracked
from pipeline.trainer.trackers import jsonl

NOTE_SECONDS = 0.5


class Journal:
    """The first process writes, for all; without a writer every method does nothing."""

    def __init__(self, config: Config, plan: Plan, writer: RunWriter | None, meter: Meter, peak: Peak | None):
        self._config, self._plan, self._writer = config, plan, writer
        self._meter, self._peak = meter, peak
        self._first_step, self._tracking_id = 1, ""
        self._trackers: list[Any] = []

    def begin(self, step: int, rollbacks: int) -> None:
        """Write down this attempt, which starts after a step, and open the trackers."""
        self._first_step = step + 1
        if self._writer is None:
            return
        earlier = self._writer.attempts()
        self._tracking_id = earlier[0]["wandb_id"] if earlier else uuid.uuid4().hex[:12]
        self._writer.rewind(step, rollbacks)
        self._meter.go_on_from(self.past())
        self._writer.begin_attempt(
            {
                "first_step": self._first_step,
                "plan": asdict(self._plan),
                "engine": kind_name(self._config.engine),
                "peak": asdict(self._peak) if self._peak else None,
                "wandb_id": self._tracking_id,
                **origin(),
            }
        )
        self._open(step)
        if earlier and step:
            self.track({"step": step, "event": "resumed", "attempt": self._writer.attempt})
        elif step and self._plan.parent:
            self.track({"step": step, "event": "branched", "checkpoint": str(self._plan.parent.checkpoint)})

    def go_back(self, step: int, rollbacks: int, **event: Any) -> None:
        """Move the rows beyond a step away and tell of the rollback; trackers start again from the step."""
        if self._writer is None:
            return
        for tracker in self._trackers:
            tracker.close(finished=False)
        self._writer.rewind(step, rollbacks, self._writer.attempt)
        self._open(step)
        self.track({"step": step, "event": "rollback", "rollbacks": rollbacks, **event})

    def past(self) -> Past:
        """Return what earlier attempts left in the rows; nothing without a writer."""
        if self._writer is None:
            return Past()
        return Past.of(self._writer.rows(), self._writer.rewound_rows())

    def has_validation(self, step: int) -> bool:
        """Tell whether there is a row of the validation after a step; nothing is known without a writer."""
        rows = self._writer.rows() if self._writer else []
        return any(row.get("step") == step and "validation_loss" in row for row in rows)

    def step(
        self, step: Step, memory_bytes: Callable[[], int], shown: Progress, skipped: tuple[Interval, ...] = ()
    ) -> None:
        """Count a step, and where it is due write its row and refresh the progress line.

        `skipped` intervals of the stream of windows were left out before it.
        """
        self._meter.add(step)
        is_due = step.is_every(self._config.log_every_steps) or step.number == self._first_step
        most = largest([memory_bytes()]) if is_due else []  # of all ranks, so all must ask
        if self._writer is None:
            return
        stats = step.stats
        if not stats.applied:
            rows = self._plan.sequences_per_step
            windows, _ = with_skipped(skipped, (step.number - 1) * rows, step.number * rows)
            why = {"reason": reason(stats), "loss": stats.loss, "grad_norm": stats.grad_norm}
            self.track({"step": step.number, "event": "skipped step", **why, "windows": windows})
        if is_due:
            self.track(
                {
                    "step": step.number,
                    "tokens": step.tokens,
                    "loss": stats.loss,
                    "lr": step.lr,
                    "grad_norm": stats.grad_norm,
                    **self._meter.read(),
                    "memory_bytes": most[0],
                }
            )
        if self._meter.is_due(NOTE_SECONDS) or step.is_last:
            shown.advance(self._meter.unseen_tokens())
            shown.note(f"loss {stats.loss:.4f}  {self._meter.tell()}")

    def track(self, row: Row) -> None:
        """Give a row or an event to every tracker."""
        for tracker in self._trackers:
            tracker.log(row)

    def end(self, reason: str, code: int, step: int, **details: Any) -> None:
        """Write down that the attempt ended as it should, and why."""
        for tracker in self._trackers:
            tracker.close(finished=code == 0)
        if self._writer is not None:
            self._writer.clear_stop()
            self._writer.end_attempt(reason, step=step, **details)
            self._writer.write_exit(reason, code, step=step, **details)

    def fail(self, failure: BaseException) -> None:
        """Write down why the attempt failed, if that can still be written: the failure itself comes first."""
        if self._writer is not None and self._trackers:
            with contextlib.suppress(OSError):
                self._writer.end_attempt("failed", error=f"{type(failure).__name__}: {failure}")

    def _open(self, step: int) -> None:
        assert self._writer is not None
        tracked = Tracked(
            directory=self._config.out,
            name=self._config.out.name,
            tracking_id=self._tracking_id,
            first_step=step,
            last_step=self.past().last_step,
            settings=plain(self._config),
            append=self._writer.append,
        )
        others = [kind for kind in self._config.trackers if not isinstance(kind, jsonl.Config)]
        self._trackers = [kind.build(tracked) for kind in (jsonl.Config(), *others)]
