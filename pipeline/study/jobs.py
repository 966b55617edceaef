"""The jobs of a study: configurations for `loglinear train`, `evaluate`, `finetune`, and what they left."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from launch.launcher import Job
from pipeline.errors import StageError
from pipeline.formats.publish import write_text
from pipeline.formats.results import Result, Results
from pipeline.formats.run import Run
from pipeline.formats.summary import NAME as SUMMARY
from pipeline.formats.summary import Summary
from pipeline.study.finetuning import FineTuning
from pipeline.study.pool import Chain, Step

ORPHAN_SECONDS = 120.0
FINETUNED = "finetuned"
"""The folder of fine-tunings: all seeds on a dataset in each folder."""


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """Where the study lies and what all its jobs share."""

    out: Path
    data: Path
    evaluate: Mapping[str, Any] | None
    environment: Mapping[str, str]
    labelled: Path | None = None
    is_queued: bool = False
    """Whether the jobs go into a cluster's queue, where those of a killed study are taken up again."""

    @property
    def records(self) -> Path:
        """Where the pool writes what became of each job."""
        return self.out / "jobs"

    def run(self, name: str, folder: str = "runs") -> Run:
        """Return the directory of a run."""
        return Run(self.out / folder / name)

    def chain(
        self,
        name: str,
        train: Mapping[str, Any],
        *,
        threads: int,
        folder: str = "runs",
        seconds: float | None = None,
        evaluated: bool = True,
        parent: str | None = None,
        finetunings: Sequence[FineTuning] = (),
        may_start: Callable[[], bool] = lambda: True,
    ) -> Chain:
        """Return the training of a run and, if wanted and where results come from one, its evaluation.

        Then come its fine-tunings. It starts from its parent's state, where it has one.
        """
        run = self.run(name, folder)
        whole = with_threads(train, threads)
        if parent is not None:
            checkpoint = str(self.run(parent, folder).directory)
            whole["init"] = {**whole.get("init", {}), "checkpoint": checkpoint}
        steps = [Step(make=lambda: self._train_job(name, whole, folder), is_done=lambda: run.finished)]
        if self.evaluate is not None and evaluated:
            steps.append(
                Step(make=lambda: self._evaluate_job(name, folder), is_done=lambda: bool(results(run)))
            )
        steps += [self.finetune_step(job, threads) for job in finetunings]
        return Chain(name=name, steps=tuple(steps), threads=threads, seconds=seconds, may_start=may_start)

    def train_job(self, name: str, folder: str = "runs") -> Job:
        """Return the training of a run, as it is submitted."""
        return self.job("train", train_record(name, folder))

    def _train_job(self, name: str, train: Mapping[str, Any], folder: str) -> Job:
        run = self.run(name, folder)
        if not self.is_queued:
            end_orphan(run)
        job = self.train_job(name, folder)
        return written(job, {**train, "out": str(run.directory), "data": str(self.data)})

    def _evaluate_job(self, name: str, folder: str) -> Job:
        run = self.run(name, folder)
        assert self.evaluate is not None
        config = {
            "suite": "study",
            **self.evaluate,
            "checkpoint": str(run.checkpoints()[-1]),
            "data": str(self.data),
        }
        return written(self.job("evaluate", evaluate_record(name, folder), alone=True), config)

    def finetune_step(self, job: FineTuning, threads: int) -> Step:
        """Return all seeds of a fine-tuning as a step."""
        return Step(
            make=lambda: self._finetune_job(job, threads),
            is_done=lambda: finetuned(self.out, job) is not None,
        )

    def finetune_job(self, job: FineTuning) -> Job:
        """Return a fine-tuning, as it is submitted."""
        return self.job("finetune", finetune_record(job))

    def _finetune_job(self, job: FineTuning, threads: int) -> Job:
        """Write a fine-tuning's configuration, once nobody else writes its folder, and return its job."""
        folder = finetuned_in(self.out, job)
        if not self.is_queued:
            end_orphan(Run(folder))
        content = {
            **with_threads(job.finetune, threads),
            "out": str(folder),
            "checkpoint": str(self.run(job.training).checkpoints()[-1]) if job.training else job.checkpoint,
            "data": None if self.labelled is None else str(self.labelled),
        }
        return written(self.finetune_job(job), content)

    def job(self, verb: str, name: str, alone: bool = False) -> Job:
        """Return a command whose configuration will lie under this name."""
        path = self.out / "configs" / f"{name}.yaml"
        environment = dict(self.environment)
        return Job(
            name=name, argv=(verb, str(path)), directory=self.out, environment=environment, alone=alone
        )


def written(job: Job, config: Mapping[str, Any]) -> Job:
    """Write a job's configuration where the job reads it, and return the job."""
    write_text(Path(job.argv[1]), yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))
    return job


def with_threads(train: Mapping[str, Any], threads: int) -> dict[str, Any]:
    """Return a training configuration whose engine, where it says a number of threads, uses this many."""
    engine = train.get("engine", {})
    return {**train, "engine": {**engine, "threads": threads}} if "threads" in engine else dict(train)


def train_record(name: str, folder: str = "runs") -> str:
    """Return the name under which the pool records a run's training."""
    return f"{folder}-{name}-train"


def evaluate_record(name: str, folder: str = "runs") -> str:
    """Return the name under which the pool records a run's evaluation."""
    return f"{folder}-{name}-evaluate"


def finetune_record(job: FineTuning) -> str:
    """Return the name under which the pool records a fine-tuning."""
    return f"{FINETUNED}-{job.name}"


def finetuned_in(out: Path, job: FineTuning) -> Path:
    """Return the folder of a study's fine-tuning, in which each seed has its own."""
    return out / FINETUNED / job.name


def finetuned(out: Path, job: FineTuning) -> Summary | None:
    """Return the figures of a fine-tuning; None while a seed that is asked for has none."""
    path = finetuned_in(out, job) / SUMMARY
    found = Summary.read(path) if path.is_file() else None
    wanted = {str(seed) for seed in job.seeds}
    return found if found and all(wanted <= set(figure.values) for figure in found.figures) else None


def end_orphan(run: Run) -> None:
    """End the process that a killed study left writing this run; it saves a checkpoint first."""
    path = run.directory / "writer.lock"
    if not path.is_file():
        return
    lock, until, asked = FileLock(path), time.monotonic() + ORPHAN_SECONDS, False
    while time.monotonic() < until:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if not asked and run.config.is_file():
                run.request_stop()
                asked = True
            time.sleep(0.5)
            continue
        lock.release()
        run.clear_stop()
        return
    raise StageError(
        f"{run.directory}: another process still writes this run after {ORPHAN_SECONDS:.0f} s; stop it"
    )


def results(run: Run) -> list[Result]:
    """Return the results of a run's last checkpoint; empty where it was not evaluated."""
    checkpoints = run.checkpoints()
    if not checkpoints:
        return []
    suites = [Results.read(path) for path in sorted(run.results.glob("*/*.json"))]
    wanted = checkpoints[-1].name
    return [result for suite in suites if Path(suite.checkpoint).name == wanted for result in suite.results]
