"""Measures how fast each size trains here, so that a time budget becomes a token count."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from launch.launcher import Launcher
from pipeline.errors import StageError
from pipeline.formats.run import Run
from pipeline.study.jobs import Jobs, end_orphan, evaluate_record, train_record
from pipeline.study.plan import Measurement
from pipeline.study.pool import Pool, recorded_seconds

FOLDER = "calibration"
WARM_STEPS = (
    2  # the first steps of a process are slow: memory is touched and kernels are chosen for the first time
)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A size to be measured, with the configuration of a short training; `evaluated` times that as well."""

    rung: str
    train: Mapping[str, Any]
    threads: int
    evaluated: bool


def measure(
    trials: Sequence[Trial], jobs: Jobs, launchers: Mapping[int, Launcher], *, processes: int, threads: int
) -> dict[str, Measurement]:
    """Return the speed of each size, measured while as many run side by side as later will.

    Sizes that will have more threads than `threads` to themselves are measured alone, with that many. Every
    size is taken to be evaluated as slowly as the slowest that was: most of that time is the same for all.
    """
    for trial in trials:
        _forget_unless_timed(trial, jobs)
    for count in sorted({trial.threads for trial in trials}):
        group = [trial for trial in trials if trial.threads == count]
        pool = Pool(lambda _, count=count: launchers[count], processes * threads, jobs.records)  # type: ignore[misc]
        chains = [
            jobs.chain(t.rung, t.train, threads=count, folder=FOLDER, evaluated=t.evaluated) for t in group
        ]
        pool.run(chains, f"measuring {len(chains)} sizes")
    evaluations = [recorded_seconds(jobs.records, evaluate_record(trial.rung, FOLDER)) for trial in trials]
    slowest = max((seconds for seconds in evaluations if seconds is not None), default=0.0)
    return {trial.rung: _measured(trial, jobs, slowest) for trial in trials}


def _forget_unless_timed(trial: Trial, jobs: Jobs) -> None:
    """Remove a measurement that was interrupted: only a whole process tells how long a start takes."""
    run = jobs.run(trial.rung, FOLDER)
    names = [train_record(trial.rung, FOLDER)]
    names += [evaluate_record(trial.rung, FOLDER)] if jobs.evaluate is not None and trial.evaluated else []
    if run.directory.is_dir() and any(recorded_seconds(jobs.records, name) is None for name in names):
        end_orphan(run)
        shutil.rmtree(run.directory)


def _measured(trial: Trial, jobs: Jobs, evaluate_seconds: float) -> Measurement:
    speed = tokens_per_second(jobs.run(trial.rung, FOLDER))
    whole = recorded_seconds(jobs.records, train_record(trial.rung, FOLDER))
    assert whole is not None, "a measurement that was not timed is made again"
    return Measurement(
        tokens_per_second=speed,
        start_seconds=max(0.0, whole - int(trial.train["train_tokens"]) / speed),
        evaluate_seconds=evaluate_seconds,
        threads=trial.threads,
    )


def tokens_per_second(run: Run) -> float:
    """Return the middle speed of a run's steps, the first ones left out; StageError where none was logged."""
    rows = [row for row in run.rows() if row.get("tokens_per_second")]
    speeds = [float(row["tokens_per_second"]) for row in rows]
    if len(speeds) <= WARM_STEPS:
        raise StageError(
            f"{run.metrics}: only {len(speeds)} steps with tokens_per_second; none is left to measure by"
        )
    return statistics.median(speeds[WARM_STEPS:])
