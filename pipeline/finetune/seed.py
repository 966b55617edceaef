"""One seed of a fine-tuning: a run that learns, is judged after each epoch, and keeps its best weights."""

from __future__ import annotations

import logging
import math
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from launch.environment import rank, world_size
from pipeline.config import identity_hash, identity_of, kind_name, plain
from pipeline.errors import Stopped
from pipeline.finetune.judge import Judge
from pipeline.finetune.materials import Materials
from pipeline.finetune.measure import with_mean
from pipeline.finetune.network import network
from pipeline.finetune.rows import Epochs, batch, dealt
from pipeline.finetune.stage import Config, Plan, name_of
from pipeline.formats import checkpoint as checkpoints
from pipeline.formats.checkpoint import Meta
from pipeline.formats.results import Results
from pipeline.formats.run import RunWriter
from pipeline.log import progress
from pipeline.trainer.checkpoints import Keeping, Saver
from pipeline.trainer.collective import from_first, wait_for_all
from pipeline.trainer.headed import Headed, write_headed
from pipeline.trainer.origin import origin
from pipeline.trainer.steps import Step, steps
from pipeline.trainer.stop import Stop
from pipeline.trainer.tracker import Row as Told
from pipeline.trainer.tracker import Tracked
from pipeline.trainer.trackers import jsonl
from pipeline.trainer.watchdog import Watcher

_log = logging.getLogger("loglinear.finetune")

RESULTS = "finetune.json"
VALIDATION = "validation"


class Seed:
    """One run, as one rank sees it; `writer` is rank 0's alone."""

    def __init__(
        self,
        config: Config,
        plan: Plan,
        materials: Materials,
        seed: int,
        writer: RunWriter | None,
        watcher: Watcher,
    ):
        self._config, self._plan, self._materials, self._seed = config, plan, materials, seed
        self._writer, self._watcher = writer, watcher
        body = network(
            materials.folder,
            materials.tokenizer,
            materials.head,
            layers=config.transferred_layers,
            dropout=config.dropout,
            classifier_dropout=config.classifier_dropout,
            seed=seed,
        )
        self._shape = body.body.config
        body.register_forward_pre_hook(watcher.beat)
        objective = Headed(materials.head.labels, config.language_model_weight)
        self._engine = config.engine.build(body, config.optim, objective, config.precision)
        self._judge = Judge(config, materials, self._engine)
        self._rows = materials.rows("train")
        self._epochs = Epochs(len(self._rows), config.batch_examples, seed)
        self._steps = config.epochs * self._epochs.steps
        self._trackers: list[Any] = []
        self._saver = Saver(
            self._engine,
            writer,
            Keeping(keep=2, keep_every_steps=None, asynchronous=True),
            self._write,
            self._track,
        )
        self._done = 0
        self._best: tuple[float, int] | None = None

    def run(self, stop: Stop) -> None:
        """Learn what is left to learn and publish the figures; raises Stopped, after saving, where asked."""
        try:
            self._resume()
            self._learn(stop)
            self._judge_best()
        except BaseException:
            self._saver.abandon()
            raise
        self._end("finished", 0)

    def _resume(self) -> None:
        """Go to the newest whole checkpoint, or stay at the start, and begin the record; collective."""
        found: tuple[Path, Meta] | None = from_first(self._writer.newest_whole() if self._writer else None)
        torch.manual_seed((self._seed * 1_000_003 + (found[1].step if found else 0)) * 1_000_003 + rank() + 1)
        if found:
            self._done = found[1].step
            self._engine.load_state(found[0] / "state")
            _log.info("seed %d: goes on from %s", self._seed, found[0])
        if self._writer is not None:
            earlier = self._writer.attempts()
            name = earlier[0]["wandb_id"] if earlier else uuid.uuid4().hex[:12]
            self._writer.rewind(self._done)
            self._writer.begin_attempt(
                {
                    "first_step": self._done + 1,
                    "seed": self._seed,
                    "plan": {"steps": self._steps, "inputs": self._plan.inputs},
                    "engine": kind_name(self._config.engine),
                    "wandb_id": name,
                    **origin(),
                }
            )
            self._open(name)
            self._best = best_of([dict(row) for row in self._writer.rows()], self._metric)
        self._best = from_first(self._best)

    def _learn(self, stop: Stop) -> None:
        """Take the steps that are left, judging after each epoch."""
        config, ended = self._config, self._done == self._steps
        told = f"fine-tune {name_of(config)}, seed {self._seed}"
        with progress(told, self._steps, "steps", self._done) as shown:
            because = stop.agreed()
            for step in () if because else self._taken():
                self._done, ended = step.number, step.is_last
                shown.advance(1)
                shown.note(f"loss {step.stats.loss:.4f}")
                self._tell(step)
                at_end = step.number % self._epochs.steps == 0
                if at_end:
                    self._judge_epoch(step.number)
                self._saver.poll()
                because = stop.agreed()
                if because or at_end or step.is_every(config.checkpoint_every_steps or self._steps):
                    self._save(step.number, ended)
                if because and not ended:
                    break
            self._landed()
        if not ended:
            self._end("stopped", Stopped.exit_code, because=because)
            raise Stopped(
                f"{config.out}: stopped ({because}) in seed {self._seed} after step {self._done:,};"
                " the same command goes on"
            )

    def _taken(self) -> Any:
        return steps(
            self._engine,
            self._batches,
            lambda done: self._config.optim.lr * rate(done / self._steps, self._config.warmup_fraction),
            start=self._done,
            until=self._steps,
            tokens_per_step=1,  # the schedule counts steps
        )

    def _batches(self, step: int) -> list[Any]:
        """Return this rank's passes of a step, counted from 0."""
        self._watcher.at("step", step + 1)
        rows, head = self._rows, self._materials.head
        passes = dealt(self._epochs.step(step), rank(), world_size(), self._config.micro_batch_examples)
        return [batch([rows[place] for place in mine], size, head) for mine, size in passes]

    def _tell(self, step: Step) -> None:
        stats = step.stats
        if not stats.applied:
            skipped = {"loss": stats.loss, "grad_norm": stats.grad_norm}
            self._track({"step": step.number, "event": "skipped step", **skipped})
        if step.is_every(self._config.log_every_steps) or step.number == 1:
            self._track(
                {
                    "step": step.number,
                    "epoch": step.number / self._epochs.steps,
                    "loss": stats.loss,
                    "lr": step.lr,
                    "grad_norm": stats.grad_norm,
                    "examples_per_second": self._config.batch_examples / step.seconds,
                    "data_seconds": step.data_seconds,
                }
            )

    def _judge_epoch(self, step: int) -> None:
        """Score the validation split; collective."""
        self._watcher.at("validation after step", step)
        measured = self._judge.measured(VALIDATION)
        self._track(
            {
                "step": step,
                "epoch": step / self._epochs.steps,
                **{f"validation_{name}": estimate.value for name, estimate in measured.items()},
                **{f"validation_{name}_stderr": estimate.stderr for name, estimate in measured.items()},
            }
        )
        value = measured[self._metric].value
        if self._best is None or value > self._best[0]:
            self._best = value, step

    def _judge_best(self) -> None:
        """Go to the best weights, and publish figures and predictions of every split but the first."""
        assert self._best is not None
        step = self._best[1]
        folder = self._config.out / f"seed-{self._seed}" / checkpoints.FOLDER / checkpoints.name_of(step)
        if step != self._done:
            if rank() == 0:
                checkpoints.verify(folder)
            wait_for_all()
            self._engine.load_state(folder / "state")
        self._watcher.at("figures of step", step)
        to = self._writer.results / folder.name if self._writer else None
        results = [
            result
            for split in self._materials.splits
            if split != "train"
            for result in self._judge.published(split, to)
        ]
        if to is not None:
            Results(
                checkpoint=str(folder),
                weights_hash=Meta.read(folder).blake3["model/model.safetensors"],
                origin={**origin(), "seed": self._seed, "inputs": self._plan.inputs, "step": step},
                results=tuple(with_mean(results)),
            ).write(to / RESULTS)
        wait_for_all()

    @property
    def _metric(self) -> str:
        return self._materials.dataset.metrics[0]

    def _save(self, step: int, ended: bool) -> None:
        """Begin to write a checkpoint; collective."""
        self._watcher.at("checkpoint at step", step)
        self._landed()
        meta = Meta(
            step=step,
            tokens=step * self._config.batch_examples,
            complete=ended,
            engine=kind_name(self._config.engine),
            world_size=world_size(),
            epoch=self._writer.epoch if self._writer else 0,
            config_hash=identity_hash(self._config, seed=self._seed, fine_tuning=self._plan.config_hash),
            data_hash=self._plan.inputs["data"],
            identity=identity_of(self._config),
        )
        self._saver.save(meta, prune=False)

    def _landed(self) -> None:
        """Wait for the checkpoint on its way, and let go of all but the last and the best."""
        self._saver.finish()
        if self._writer is None:
            return
        there = {checkpoints.step_of(path): path for path in self._writer.checkpoints()}
        best = best_of([row for row in self._writer.rows() if row.get("step") in there], self._metric)
        for step, path in there.items():
            if step != max(there) and (best is None or step != best[1]):
                checkpoints.discard(path)

    def _write(self, folder: Path, snapshot: Any) -> Any:
        head = self._materials.head
        told = {"reading": head.reading, "labels": list(self._materials.dataset.labels), "kind": head.labels}
        return write_headed(folder, snapshot, self._shape, self._materials.tokenizer, **told)

    def _open(self, tracking_id: str) -> None:
        assert self._writer is not None
        tracked = Tracked(
            directory=self._writer.directory,
            name=f"{self._config.out.name}-seed-{self._seed}",
            tracking_id=tracking_id,
            first_step=self._done,
            last_step=max((row.get("step", 0) for row in self._writer.rows()), default=0),
            settings={**plain(self._config), "seed": self._seed},
            append=self._writer.append,
        )
        others = [kind for kind in self._config.trackers if not isinstance(kind, jsonl.Config)]
        self._trackers = [kind.build(tracked) for kind in (jsonl.Config(), *others)]

    def _track(self, row: Told) -> None:
        for tracker in self._trackers:
            tracker.log(row)

    def _end(self, reason: str, code: int, **details: Any) -> None:
        for tracker in self._trackers:
            tracker.close(finished=code == 0)
        if self._writer is not None:
            self._writer.end_attempt(reason, step=self._done, **details)
            self._writer.write_exit(reason, code, step=self._done, **details)
        wait_for_all()


def rate(done: float, warmup: float) -> float:
    """Return the share of the peak learning rate at a share of all steps: up over the warm-up, and down to 0.

    Down from the beginning: the warm-up's factor is on top of it (released code, `warmup_linear` in opt.py).
    """
    return (min(done / warmup, 1.0) if warmup else 1.0) * (1 - done)


def best_of(rows: Sequence[Mapping[str, Any]], metric: str) -> tuple[float, int] | None:
    """Return the best validation figure in a run's rows and its step; of equal ones the first."""
    found = [(row[f"validation_{metric}"], row["step"]) for row in rows if f"validation_{metric}" in row]
    scored = [(value, step) for value, step in found if value is not None and math.isfinite(value)]
    return max(scored, key=lambda each: (each[0], -each[1]), default=None)
