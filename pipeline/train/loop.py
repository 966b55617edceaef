"""The training loop: a run from its newest whole checkpoint to its horizon, or to a request to stop."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from launch.environment import rank, world_size
from model.transformer import GPT
from pipeline.config import identity_of, kind_name
from pipeline.errors import FormatError, StageError, Stopped
from pipeline.formats import checkpoint as checkpoints
from pipeline.formats.checkpoint import Meta
from pipeline.formats.manifest import Manifest
from pipeline.formats.run import RunWriter
from pipeline.log import Progress, progress
from pipeline.train.batches import Batches
from pipeline.train.init import load_weights
from pipeline.train.journal import Journal
from pipeline.train.objective import OBJECTIVES, NextTokens
from pipeline.train.plan import Plan
from pipeline.train.rollback import is_good, no_way_back, refuse_foreign, with_skipped
from pipeline.train.sampler import Order, Windows
from pipeline.train.samples import SampleWriter
from pipeline.train.stage import Config
from pipeline.train.validation import Validation
from pipeline.trainer.checkpoints import Keeping, Saver
from pipeline.trainer.collective import from_first, gathered, join, wait_for_all
from pipeline.trainer.engine import Engine
from pipeline.trainer.hardware import choose_device, keep_freed_memory, peak
from pipeline.trainer.meter import Meter
from pipeline.trainer.pace import Pace
from pipeline.trainer.spikes import Watch
from pipeline.trainer.steps import Step, steps
from pipeline.trainer.stop import Stop
from pipeline.trainer.watchdog import Watcher

_log = logging.getLogger("loglinear.train")


def train(
    config: Config, plan: Plan, manifest: Manifest, writer: RunWriter | None, stop: Stop, watcher: Watcher
) -> None:
    """Train to the horizon; `writer` is rank 0's alone. Raises Stopped once what was done is saved."""
    begun = time.monotonic()
    keep_freed_memory(
        thrifty=config.engine.thrifty
    )  # before there are threads, which have heaps of their own
    if world_size() > 1:
        watcher.at("meeting of the processes")
        join(choose_device(config.engine.device), watcher.group_seconds)
        watcher.meets(gathered)
    watcher.at("start-up")
    torch.manual_seed(config.seed)
    task = OBJECTIVES[config.objective](config, manifest.load_tokenizer(config.data), manifest.eot_id)
    body = GPT(config.model)
    if config.init and config.init.what == "weights" and plan.parent and plan.parent.checkpoint.is_dir():
        load_weights(body, plan.parent)
    model = task.network(body)
    model.register_forward_pre_hook(watcher.beat)
    engine = config.engine.build(model, config.optim, task.objective(), config.precision)
    try:
        Attempt(config, plan, manifest, task, engine, writer, watcher, begun).run(stop)
    finally:
        engine.close()


class Attempt:
    """One start of a run, as one rank sees it."""

    def __init__(
        self,
        config: Config,
        plan: Plan,
        manifest: Manifest,
        task: NextTokens,
        engine: Engine,
        writer: RunWriter | None,
        watcher: Watcher,
        begun: float,
    ):
        self._config, self._plan, self._engine, self._writer = config, plan, engine, writer
        self._watcher, self._pace = watcher, Pace(config.watchdog, watcher)
        device = choose_device(config.engine.device)
        T = plan.sequence_tokens  # noqa: N806
        windows = Windows(config.data, manifest, "train", T)
        order = Order(windows.count, manifest.hash, T, config.seed)
        # On a CPU a thread that prepares batches costs a small model more than it gives.
        self._ahead = device.type == "cuda"
        self._batches = Batches(windows, order, plan, rank(), task.form(windows, 0), pinned=self._ahead)
        held_out = Windows(config.data, manifest, config.validation.split, T)
        self._validation = Validation(
            held_out,
            config.validation.tokens,
            plan.micro_batch_sequences,
            rank(),
            plan.world_size,
            task.byte_lengths(),
            task.form(held_out, 1),
            task.term,
        )
        self._samples = SampleWriter(config.samples, manifest.load_tokenizer(config.data), T, config.seed)
        kept = config.checkpoint
        keeping = Keeping(
            keep=kept.keep, keep_every_steps=kept.keep_every_steps, asynchronous=kept.asynchronous
        )
        device_peak = peak(device, config.precision)
        meter = Meter(plan.flops_per_token, plan.tokens_per_step, device_peak, plan.world_size, begun)
        self._journal = Journal(config, plan, writer, meter, device_peak)
        self._saver = Saver(
            engine,
            writer,
            keeping,
            task.write,
            self._journal.track,
        )
        watcher.on_end(lambda message: self._journal.fail(StageError(message)))
        self._watch = Watch(config.spikes)
        self._data_hash = manifest.hash
        self._done, self._lacks_validation = 0, False

    def run(self, stop: Stop) -> None:
        """Train from where the run stands; raises Stopped, after saving, if `stop` asks before the end."""
        try:
            self._resume()
            self._go(stop)
        except BaseException as failure:
            self._saver.abandon()
            if not isinstance(failure, Stopped):
                self._journal.fail(failure)
            raise

    def _resume(self) -> None:
        """Go to the newest whole checkpoint, the trunk's or the start, and begin the record; collective."""
        parent = self._plan.parent
        if len(set(gathered(parent and parent.hash))) > 1:
            raise StageError(
                f"{self._config.out}: the parent published a checkpoint while this run started; the same"
                " command takes the newer one, or name a checkpoint in init.checkpoint"
            )
        newest = from_first(self._writer.newest_whole(self._examine) if self._writer else None)
        if newest is None and parent and not parent.checkpoint.is_dir():
            raise FormatError(
                f"init.checkpoint: {parent.checkpoint} is gone, and the run has no checkpoint yet"
            )
        self._go_to(newest or from_first(self._trunk()))
        self._journal.begin(self._done, self._watch.rollbacks)
        # A stop ends a validation and is saved at the same step: the next attempt makes up for it.
        every = self._config.validation.every_steps
        is_due = newest is not None and every > 0 and self._done % every == 0
        self._lacks_validation = from_first(is_due and not self._journal.has_validation(self._done))

    def _go(self, stop: Stop) -> None:
        """Take the steps that are left."""
        config, plan = self._config, self._plan
        done = self._done * plan.tokens_per_step
        with progress(f"train {config.out.name}", plan.train_tokens, "tokens", done) as shown:
            if self._lacks_validation:
                self._validate(self._done, stop)
            because, ended = stop.agreed(), False
            for step in () if because else self._steps(shown):
                self._watcher.at("record of step", step.number)
                self._journal.step(step, self._engine.memory_bytes, shown, self._batches.skipped)
                for row in self._pace.rows(step, config.log_every_steps):
                    self._journal.track(row)
                # Too long a streak of bad steps is undone, even where it ends with the last step.
                ended = step.is_last and not self._watch.gives_up_on_weights()
                if step.is_every(config.validation.every_steps):
                    self._validate(step.number, stop, is_last=step.is_last)
                self._watcher.at("samples after step", step.number)
                for row in self._samples.rows(self._engine, step):
                    self._journal.track(row)
                if self._saver.busy:
                    self._watcher.at("checkpoint at step", step.number)
                    self._saver.poll()
                self._watcher.at("end of step", step.number)
                because = stop.agreed()
                if because or ended or self._is_due(step):
                    self._save(step, ended)
                if because:
                    break
            self._watcher.at("checkpoint at step", self._done)
            self._saver.finish()
        if not ended:
            self._end("stopped", Stopped.exit_code, because=because)
            raise Stopped(
                f"{config.out}: stopped ({because}) after step {self._done:,}; the same command goes on"
            )
        self._end("finished", 0)

    def _steps(self, shown: Progress) -> Iterator[Step]:
        """Take steps up to the horizon, going back where too many in a row are bad."""
        config, plan = self._config, self._plan
        while True:
            if self._watch.gives_up_on_weights():
                self._watcher.at("checkpoint at step", self._done)
                self._roll_back(shown)
            self._watcher.at("step", self._done + 1)
            for step in steps(
                self._engine,
                self._batches.step,
                lambda tokens: config.schedule.at(tokens, plan.train_tokens, config.optim.lr),
                start=self._done,
                until=plan.steps,
                tokens_per_step=plan.tokens_per_step,
                limit=self._watch.limit,
                ahead=self._ahead,
            ):
                self._watch.see(step.stats)
                self._done = step.number
                yield step
                if self._watch.gives_up_on_weights():
                    break
                self._watcher.at("step", step.number + 1)
            else:
                return

    def _roll_back(self, shown: Progress) -> None:
        """Go back to the last checkpoint outside the streak of bad steps, and leave their windows out."""
        self._saver.finish()
        good = self._writer.newest_good(is_good) if self._writer else None
        found: tuple[Path, Meta] | None = from_first(good or self._trunk())
        if found is None or not self._watch.may_go_back():
            raise StageError(no_way_back(self._config, self._watch, self._done, found and found[0]))
        last, bad, rollbacks = self._done, self._watch.skipped_in_a_row, self._watch.rollbacks + 1
        rows = self._plan.sequences_per_step
        interval, skipped = with_skipped(self._batches.skipped, (last - bad) * rows, last * rows)
        self._go_to(found)
        self._batches.skipped, self._watch.rollbacks = skipped, rollbacks
        shown.advance((self._done - last) * self._plan.tokens_per_step)
        self._journal.go_back(
            self._done, rollbacks, from_step=last, skipped_steps=bad, skipped_windows=interval
        )

    def _examine(self, meta: Meta) -> None:
        """Raise FormatError for a checkpoint of another run that was put into this one."""
        refuse_foreign(meta, identity_of(self._config), self._data_hash)

    def _trunk(self) -> tuple[Path, Meta] | None:
        """Return the checkpoint that the run branches from, verified; rank 0's work."""
        init, parent = self._config.init, self._plan.parent
        if self._writer is None or init is None or parent is None or init.what != "state":
            return None
        return parent.checkpoint, checkpoints.verify(parent.checkpoint)

    def _go_to(self, found: tuple[Path, Meta] | None) -> None:
        """Take over a checkpoint, or stay at the start where there is none; collective."""
        if found:
            meta = found[1]
            self._done = meta.step
            self._batches.skipped = meta.skipped
            self._watch = Watch(self._config.spikes, meta.watch)
        # Dropout differs from rank to rank; a checkpoint of the same world size brings its own generators.
        torch.manual_seed((self._config.seed * 1_000_003 + self._done) * 1_000_003 + rank() + 1)
        if found:
            self._engine.load_state(found[0] / "state")
            _log.info("%s: goes on from %s", self._config.out, found[0])

    def _validate(self, step: int, stop: Stop, is_last: bool = False) -> None:
        """Validate; a request to stop ends it, but not the last one, which completes the run."""
        self._watcher.at("validation after step", step)
        found = self._validation.run(self._engine, lambda: not is_last and bool(stop.agreed()))
        if found is None:
            return
        self._journal.track(
            {
                "step": step,
                "tokens": step * self._plan.tokens_per_step,
                "validation_loss": found.loss,
                "validation_stderr": found.stderr,
                "bits_per_byte": found.bits_per_byte,
                "validation_tokens": found.tokens,
            }
        )

    def _is_due(self, step: Step) -> bool:
        # In a streak of bad steps the weights stay as they are; the checkpoint before it is the one to keep.
        return step.is_every(self._config.checkpoint.every_steps) and not self._watch.skipped_in_a_row

    def _save(self, step: Step, ended: bool) -> None:
        """Begin to write a checkpoint; collective."""
        self._watcher.at("checkpoint at step", step.number)
        meta = Meta(
            step=step.number,
            tokens=step.tokens,
            complete=ended,
            engine=kind_name(self._config.engine),
            world_size=self._plan.world_size,
            epoch=self._writer.epoch if self._writer else 0,
            config_hash=self._plan.config_hash,
            data_hash=self._data_hash,
            skipped=self._batches.skipped,
            watch=self._watch.memory(),
            identity=identity_of(self._config),
        )
        self._saver.save(meta, prune=ended or not self._watch.skipped_in_a_row)

    def _end(self, reason: str, code: int, **details: Any) -> None:
        self._journal.end(reason, code, self._done, **details)
        wait_for_all()  # a launcher ends the others when the first one leaves
