"""A comparison carried out: trainings, then fine-tunings of every trial on every dataset, then the table.

Where it asks for an evaluation, that of all checkpoints of a training follows on the training.

Its directory holds plan.json, configs/, runs/ (trainings), evaluated/ (results of each checkpoint of a run),
finetuned/ (all seeds of a trial on a dataset in each folder), jobs/ (what became of each job),
comparison.json, comparison.csv, zero-shot.csv and submissions/ (for GLUE's server).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from launch.code import Code
from launch.launcher import Job, Launcher, Queue
from pipeline.config import dump
from pipeline.errors import ConfigError, FormatError
from pipeline.formats.lock import sole_writer
from pipeline.formats.publish import remove_leftovers, write_json, write_text
from pipeline.formats.run import Run
from pipeline.formats.summary import NAME as SUMMARY
from pipeline.formats.summary import Summary
from pipeline.study import submissions, trial_plan, watched, zero_shot
from pipeline.study.compared import Comparison, compared
from pipeline.study.finetuning import FineTuning
from pipeline.study.jobs import Jobs, finetuned, finetuned_in, written
from pipeline.study.planner import now
from pipeline.study.pool import Chain, Pool, Step, longest_first, recorded_failures
from pipeline.study.trial_plan import Plan
from pipeline.study.trials import Config
from pipeline.study.watched import Watched
from pipeline.study.zero_shot import Point

LOG = logging.getLogger("loglinear.study")

NAME, TABLE = "comparison.json", "comparison.csv"
Launchers = Callable[[int], Launcher]


def describe(config: Config, plan: Plan) -> str:
    """Return what will be done as lines for people."""
    return "\n".join(trial_plan.table(plan, config))


def script(config: Config, plan: Plan, queue: Queue) -> str:
    """Return the array of the jobs that would be submitted first; touches nothing."""
    study = _Comparing(config, plan, lambda _: queue, is_queued=True)
    jobs = study.first_jobs()
    return queue.script_of(jobs) if jobs else f"{config.out}: everything is done; no job would be submitted"


def run(config: Config, plan: Plan, start: Launchers, is_queued: bool) -> str:
    """Carry the comparison to its table and return what it says; what is finished is not done again.

    Raises ConfigError where checkpoints or datasets are missing.
    """
    if plan.missing:
        raise ConfigError(plan.missing)
    config.out.mkdir(parents=True, exist_ok=True)
    refusal = f"{config.out}: another process works on this study; wait for it, or stop it"
    with sole_writer(config.out / "study.lock", refusal):
        remove_leftovers(config.out)
        found = _Comparing(config, plan, start, is_queued).finish()
    return "\n".join((found.table() if found.datasets else []) + list(found.summary))


class _Comparing:
    """One comparison while it is carried out."""

    def __init__(self, config: Config, plan: Plan, start: Launchers, is_queued: bool):
        self._config, self._plan, self._start, self._is_queued = config, plan, start, is_queued
        self._code = Code.here()
        own = self._code.variables(config.out, {**os.environ, **config.environment})
        self._jobs = Jobs(
            out=config.out,
            data=config.data or Path(),
            evaluate=None,
            environment={**config.environment, **own},
            labelled=config.labelled,
            is_queued=is_queued,
        )
        self._begun: set[str] = set()

    def finish(self) -> Comparison:
        """Train and evaluate, fine-tune, compare."""
        config, plan = self._config, self._plan
        self._code.pack(config.out)
        write_json(config.out / "plan.json", {**plan.as_json(), "created": now()})
        write_text(config.out / "config.yaml", dump(config))
        for line in trial_plan.table(plan, config):
            LOG.info("%s", line)
        pool = Pool(self._start, config.processes * config.threads, self._jobs.records)
        pool.run(longest_first(self._trainings()), "training the networks")
        pool.run(longest_first([self._chain(job) for job in plan.finetunings]), "fine-tuning")
        points = [point for job in plan.watched for point in zero_shot.points(job, config.out)]
        found = self._compared(points)
        if found.datasets:
            write_text(config.out / TABLE, found.csv())
            submissions.write(config.out, plan.finetunings, self._folder, found)
        if plan.watched:
            write_text(config.out / zero_shot.TABLE, zero_shot.as_csv(points))
        content = {**found.as_json(), "zero_shot": [asdict(point) for point in points]}
        failures = recorded_failures(self._jobs.records)
        write_json(config.out / NAME, {"written": now(), "failures": failures, **content})
        return found

    def first_jobs(self) -> list[Job]:
        """Return the jobs that can start at once, finished ones left out."""
        trainings = [run.name for run in self._plan.trainings if not self._jobs.run(run.name).finished]
        if trainings:
            return [self._jobs.train_job(name) for name in trainings]
        waiting = [self._watch_job(job) for job in self._plan.watched if not self._is_evaluated(job)]
        tunings = [job for job in self._plan.finetunings if finetuned(self._config.out, job) is None]
        return waiting + [self._jobs.finetune_job(job) for job in tunings]

    def _compared(self, points: list[Point]) -> Comparison:
        """Return the comparison of the fine-tunings, and what it and the checkpoints say."""
        found = compared(self._plan.finetunings, self._summaries(), self._config.trials)
        lacking = [why for job in self._plan.watched for why in self._lacking(job) or ()]
        said = [*zero_shot.summary(points), *(f"Not done: {why}." for why in dict.fromkeys(lacking))]
        # How errors are told stands last.
        return replace(found, summary=(*found.summary[:-1], *said, *found.summary[-1:]))

    def _trainings(self) -> list[Chain]:
        """Return each training with the evaluation of its checkpoints, and that of the runs of others."""
        threads, speed = self._config.threads, self._config.flops_per_second
        chains = {
            run.name: self._jobs.chain(
                run.name, run.train, threads=threads, seconds=run.flops / speed if speed else None
            )
            for run in self._plan.trainings
        }
        for job in self._plan.watched:
            before = chains.get(
                job.training or "", Chain(name=job.name, steps=(), threads=self._config.threads)
            )
            chains[before.name] = replace(before, steps=(*before.steps, self._watch_step(job)))
        return list(chains.values())

    def _watch_step(self, job: Watched) -> Step:
        return Step(make=lambda: self._watch(job), is_done=lambda: self._is_evaluated(job))

    def _watch(self, job: Watched) -> Job:
        """Write the configuration of an evaluation of all checkpoints of a run, and return its job."""
        self._begun.add(job.name)
        config = self._config
        content = {
            **job.evaluate,
            "watch": str(self._watched_run(job).directory),
            "out": str(job.folder(config.out)),
            "data": None if config.labelled is None else str(config.labelled),
            "corpus": None if config.data is None else str(config.data),
        }
        return written(self._watch_job(job), content)

    def _watch_job(self, job: Watched) -> Job:
        return self._jobs.job("evaluate", f"{watched.FOLDER}-{job.name}")

    def _is_evaluated(self, job: Watched) -> bool:
        """Tell whether all checkpoints are; what lacked its set is asked for again at each start."""
        lacking = self._lacking(job)
        return lacking == [] or (lacking is not None and job.name in self._begun)

    def _lacking(self, job: Watched) -> list[str] | None:
        return job.lacking(self._config.out, self._watched_run(job))

    def _watched_run(self, job: Watched) -> Run:
        return self._jobs.run(job.training) if job.training else Run(Path(str(job.checkpoint)))

    def _chain(self, job: FineTuning) -> Chain:
        speed = self._config.flops_per_second
        step = self._jobs.finetune_step(job, self._config.threads)
        seconds = job.flops / speed if speed and job.flops else None
        return Chain(name=job.name, steps=(step,), threads=self._config.threads, seconds=seconds)

    def _summaries(self) -> dict[str, Summary]:
        """Return the figures of each job; FormatError where a trial's jobs started from other weights."""
        found = {job.name: Summary.read(self._folder(job) / SUMMARY) for job in self._plan.finetunings}
        for trial in self._config.trials:
            jobs = [job for job in self._plan.finetunings if job.trial == trial.name]
            if len({found[job.name].inputs.get("weights") for job in jobs}) > 1:
                raise FormatError(
                    f"{self._config.out}: the fine-tunings of {trial.name} started from different weights; "
                    f"remove {', '.join(str(self._folder(job)) for job in jobs)} and run the study again"
                )
        return found

    def _folder(self, job: FineTuning) -> Path:
        return finetuned_in(self._config.out, job)
