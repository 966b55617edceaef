"""Evaluations of a comparison: every checkpoint that a trial's pre-training keeps, put to tasks as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import identity_hash
from pipeline.errors import ConfigError
from pipeline.formats.checkpoint import FOLDER as CHECKPOINTS
from pipeline.formats.results import Results
from pipeline.formats.run import Run
from pipeline.study import trials
from pipeline.study.plan import PlannedRun
from pipeline.study.trials import Config, Trial

EXECUTION_KEYS = ("device", "batch_tokens", "patience_minutes", "check_sums")
"""What an evaluation's configuration may say about how it is carried out without becoming another one."""
KEEP = "keep_every_steps"
FOLDER = "evaluated"


@dataclass(frozen=True, kw_only=True)
class Watched:
    """One job: all checkpoints of a run, put to tasks; `training` names the run if it is the study's own.

    `checkpoints` is how many there will be, None where that is another's to say.
    """

    name: str
    trial: str
    training: str | None
    checkpoint: str | None
    checkpoints: int | None
    evaluate: dict[str, Any]

    @property
    def suite(self) -> str:
        """The name of the results' files."""
        return f"{self.evaluate['suite']}.json"

    def folder(self, out: Path) -> Path:
        """Return where the results of its checkpoints lie, each in a folder of its own."""
        return out / FOLDER / self.name

    def lacking(self, out: Path, run: Run) -> list[str] | None:
        """Return what was not done for want of a set; None while not every checkpoint is evaluated."""
        suites = [self.folder(out) / path.name / self.suite for path in run.checkpoints()]
        if not suites or not all(path.is_file() for path in suites):
            return None
        told = [why for path in suites for why in Results.read(path).origin.get("missing", {}).values()]
        return list(dict.fromkeys(told))


def planned(config: Config, runs: Mapping[str, PlannedRun | None]) -> tuple[Watched, ...]:
    """Return the evaluation of every trial's run, once for each; `runs` are the trainings by trial.

    Raises ConfigError for a training that keeps none of its checkpoints, and for a checkpoint that is no run.
    """
    if config.evaluate is None:
        return ()
    found: dict[str, Watched] = {}
    problems: list[str] = []
    for trial in config.trials:
        try:
            job = _watched(config, trial, runs[trial.name])
        except ConfigError as fault:
            problems += fault.problems
        else:
            found.setdefault(job.training or str(job.checkpoint), job)
    if problems:
        raise ConfigError(problems)
    return tuple(found.values())


def _watched(config: Config, trial: Trial, run: PlannedRun | None) -> Watched:
    path = trial.checkpoint
    if path is not None and path.exists() and not (path / CHECKPOINTS).is_dir():
        raise ConfigError(
            f"trials.{trial.name}.checkpoint: {path} is no run, whose checkpoints could be evaluated one "
            "after the other; give a run, or leave evaluate out"
        )
    if run is not None and run.train["model"].get("causal") is False:
        raise ConfigError(
            f"trials.{trial.name}: reads from both sides, so it gives a text no probability and nothing can "
            "be asked of it without fine-tuning; leave the trial out, or evaluate"
        )
    evaluate = trials.evaluation(config)
    decisive = {key: value for key, value in evaluate.items() if key not in EXECUTION_KEYS}
    digest = identity_hash(decisive, start=run.config_hash if run else str(path))
    return Watched(
        name=f"{trial.name}-{evaluate['suite']}-{digest[:8]}",
        trial=trial.name,
        training=run.name if run else None,
        checkpoint=str(path) if path else None,
        checkpoints=_kept(trial, run) if run else None,
        evaluate=evaluate,
    )


def _kept(trial: Trial, run: PlannedRun) -> int:
    """Return how many checkpoints a training keeps for ever, its last one counted."""
    every = (run.train.get("checkpoint") or {}).get(KEEP)
    if not every:
        raise ConfigError(
            f"trials.{trial.name}.train: checkpoint.{KEEP} missing, here and in train; each checkpoint that "
            "is kept is evaluated"
        )
    steps = -(-run.tokens // run.batch_tokens)
    return -(-steps // int(every))
