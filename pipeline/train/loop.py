"""The training loop: a run from its newest whole checkpoint to its horizon, or to a request to stop."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from launch.environment import rank
from model.tokenizer import load as load_tokenizer
from model.transformer import GPT
from model.weights import save_model
from pipeline.config import kind_name, plain
from pipeline.errors import Stopped
from pipeline.formats.checkpoint import Meta
from pipeline.formats.manifest import Manifest
from pipeline.formats.run import RunWriter
from pipeline.log import Progress, progress
from pipeline.train.plan import Plan
from pipeline.train.sampler import Order, Windows, rows_of
from pipeline.train.stage import Config
from pipeline.train.validation import Validation, as_batch
from pipeline.trainer.collective import from_first, wait_for_all
from pipeline.trainer.engine import Batch, Engine, NextToken, Pending
from pipeline.trainer.hardware import Peak, choose_device, keep_freed_memory, peak
from pipeline.trainer.meter import Meter
from pipeline.trainer.origin import origin
from pipeline.trainer.steps import Step, steps
from pipeline.trainer.stop import Stop
from pipeline.trainer.tracker import Row, Tracked
from pipeline.trainer.trackers import jsonl

NOTE_SECONDS = 0.5

_log = logging.getLogger("loglinear.train")


def train(config: Config, plan: Plan, manifest: Manifest, writer: RunWriter | None, stop: Stop) -> None:
    """Train to the horizon; `writer` is rank 0's alone. Raises Stopped once what was done is saved."""
    keep_freed_memory()
    torch.manual_seed(config.seed)
    engine = config.engine.build(GPT(config.model), config.optim, NextToken(), config.precision)
    try:
        attempt = Attempt(config, plan, manifest, engine, writer)
        attempt.resume()
        attempt.begin()
        attempt.go(stop)
    except BaseException as failure:
        if writer is not None and not isinstance(failure, Stopped):
            writer.end_attempt("failed", error=f"{type(failure).__name__}: {failure}")
        raise
    finally:
        engine.close()


class Attempt:
    """One start of a run, as one rank sees it."""

    def __init__(
        self, config: Config, plan: Plan, manifest: Manifest, engine: Engine, writer: RunWriter | None
    ):
        self._config, self._plan, self._engine, self._writer = config, plan, engine, writer
        T = plan.sequence_tokens  # noqa: N806
        self._windows = Windows(config.data, manifest, "train", T)
        self._order = Order(self._windows.count, manifest.hash, T, config.seed)
        self._tokenizer = load_tokenizer(config.data)
        held_out = Windows(config.data, manifest, config.validation.split, T)
        self._validation = Validation(
            held_out,
            config.validation.tokens,
            plan.micro_batch_sequences,
            rank(),
            plan.world_size,
            self._tokenizer.byte_lengths(),
        )
        self._data_hash = manifest.hash
        self._start = 0
        self._skipped: tuple[tuple[int, int], ...] = ()
        self._trackers: list[Any] = []

    def resume(self) -> None:
        """Go back to the newest whole checkpoint, or to the start where there is none; collective."""
        newest: tuple[Path, Meta] | None = from_first(self._writer.newest_whole() if self._writer else None)
        if newest:
            self._start, self._skipped = newest[1].step, newest[1].skipped
        # Dropout differs from rank to rank; a checkpoint of the same world size brings its own generators.
        torch.manual_seed((self._config.seed * 1_000_003 + self._start) * 1_000_003 + rank() + 1)
        if newest:
            self._engine.load_state(newest[0] / "state")
            _log.info("%s: goes on from %s", self._config.out, newest[0].name)

    def begin(self) -> None:
        """Write down this attempt and open the trackers; rank 0's work."""
        device_peak = peak(choose_device(self._config.engine.device), self._config.precision)
        self._meter = self._make_meter(device_peak)
        if self._writer is None:
            return
        earlier = self._writer.attempts()
        tracking_id = earlier[0]["wandb_id"] if earlier else uuid.uuid4().hex[:12]
        self._writer.rewind(self._start)
        self._writer.begin_attempt(
            {
                "first_step": self._start + 1,
                "plan": asdict(self._plan),
                "engine": kind_name(self._config.engine),
                "peak": asdict(device_peak) if device_peak else None,
                "wandb_id": tracking_id,
                **origin(),
            }
        )
        tracked = Tracked(
            directory=self._config.out,
            name=self._config.out.name,
            tracking_id=tracking_id,
            first_step=self._start,
            settings=plain(self._config),
            append=self._writer.append,
        )
        kinds = [
            jsonl.Config(),
            *(kind for kind in self._config.trackers if not isinstance(kind, jsonl.Config)),
        ]
        self._trackers = [kind.build(tracked) for kind in kinds]
        if self._start:
            self._track({"step": self._start, "event": "resumed", "attempt": self._writer.attempt})

    def go(self, stop: Stop) -> None:
        """Take the steps that are left; raises Stopped after saving them if `stop` asks before the last."""
        config, plan = self._config, self._plan
        with ExitStack() as stack:
            shown = stack.enter_context(progress(f"train {config.out.name}", plan.train_tokens, "tokens"))
            shown.advance(self._start * plan.tokens_per_step)
            reason = stop.agreed()
            taken = () if reason else self._steps()
            step = None
            for step in taken:
                self._record(step, shown)
                if step.is_every(config.validation.every_steps):
                    self._validate(step, stop)
                reason = stop.agreed()
                if reason or step.is_every(config.checkpoint.every_steps):
                    self._save(step)
                if reason:
                    break
        if reason and (step is None or not step.is_last):
            self._end("stopped", Stopped.exit_code, step.number if step else self._start, because=reason)
            raise Stopped(
                f"{config.out}: stopped ({reason}) after step {step.number if step else self._start:,};"
                " the same command goes on"
            )
        self._end("finished", 0, plan.steps)

    def _steps(self) -> Any:
        return steps(
            self._engine,
            self._micro_batches,
            lambda tokens: self._config.schedule.at(tokens, self._plan.train_tokens, self._config.optim.lr),
            start=self._start,
            until=self._plan.steps,
            tokens_per_step=self._plan.tokens_per_step,
        )

    def _micro_batches(self, step: int) -> Sequence[Batch]:
        """Return this rank's passes of a step, counted from 0."""
        plan = self._plan
        indices, rows = rows_of(
            rank(), plan.world_size, self._order.step(step, plan.sequences_per_step, self._skipped)
        )
        windows = self._windows.read(indices)
        size = plan.micro_batch_sequences
        return [
            as_batch(windows[start : start + size], min(size, rows - start)) for start in range(0, rows, size)
        ]

    def _record(self, step: Step, shown: Progress) -> None:
        """Count a step, and where it is due write its row and refresh the progress line."""
        self._meter.add(step)
        if self._writer is None:
            return
        if not step.stats.applied:
            self._track({"step": step.number, "event": "skipped step", "loss": step.stats.loss})
        if step.is_every(self._config.log_every_steps) or step.number == self._start + 1:
            self._track(
                {
                    "step": step.number,
                    "tokens": step.tokens,
                    "loss": step.stats.loss,
                    "lr": step.lr,
                    "grad_norm": step.stats.grad_norm,
                    **self._meter.read(),
                    "memory_bytes": self._engine.memory_bytes(),
                }
            )
        if self._meter.is_due(NOTE_SECONDS) or step.is_last:
            shown.advance(self._meter.unseen_tokens())
            shown.note(f"loss {step.stats.loss:.4f}  {self._meter.tell()}")

    def _validate(self, step: Step, stop: Stop) -> None:
        """Validate; a request to stop ends it, but not the last one, which completes the run."""
        found = self._validation.run(self._engine, lambda: not step.is_last and bool(stop.agreed()))
        if found is None:
            return
        self._track(
            {
                "step": step.number,
                "tokens": step.tokens,
                "validation_loss": found.loss,
                "validation_stderr": found.stderr,
                "bits_per_byte": found.bits_per_byte,
                "validation_tokens": found.tokens,
            }
        )

    def _save(self, step: Step) -> None:
        """Publish a checkpoint; collective."""
        meta = Meta(
            step=step.number,
            tokens=step.tokens,
            complete=step.is_last,
            engine=kind_name(self._config.engine),
            world_size=self._plan.world_size,
            epoch=self._writer.epoch if self._writer else 0,
            config_hash=self._plan.config_hash,
            data_hash=self._data_hash,
            skipped=self._skipped,
        )
        begun = time.perf_counter()
        with ExitStack() as stack:
            draft = stack.enter_context(self._writer.publishing_checkpoint(meta)) if self._writer else None
            draft = from_first(draft)
            pending: Pending = self._engine.save_state(draft / "state")
            weights = self._engine.weights()
            if weights is not None:
                save_model(draft / "model", weights, self._config.model, self._tokenizer)
            pending.wait()
            wait_for_all()
        if self._writer is not None:
            self._writer.retain(self._config.checkpoint.keep)
            seconds = time.perf_counter() - begun
            self._track({"step": step.number, "event": "checkpoint", "seconds": round(seconds, 3)})

    def _track(self, row: Row) -> None:
        for tracker in self._trackers:
            tracker.log(row)

    def _end(self, reason: str, code: int, step: int, **details: Any) -> None:
        for tracker in self._trackers:
            tracker.close(finished=code == 0)
        if self._writer is not None:
            self._writer.clear_stop()
            self._writer.end_attempt(reason, step=step, **details)
            self._writer.write_exit(reason, code, step=step, **details)

    def _make_meter(self, device_peak: Peak | None) -> Meter:
        return Meter(
            flops_per_token=self._plan.flops_per_token,
            tokens_per_step=self._plan.tokens_per_step,
            peak=device_peak,
            devices=self._plan.world_size,
        )
