"""Makes a study's plan: measures where time is the budget, then fixes every run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from launch.launcher import Launcher
from model.config import GPTConfig
from pipeline.config import identity_hash
from pipeline.errors import ConfigError
from pipeline.formats.manifest import Manifest
from pipeline.study import calibrate, finetuning
from pipeline.study import plan as plans
from pipeline.study.assemble import Given, assemble
from pipeline.study.config import Config, decisive
from pipeline.study.jobs import Jobs
from pipeline.study.plan import Measurement, Plan, PlannedRun

Launchers = Callable[[int], Launcher]


class Planner:
    """Turns a configuration, a dataset and this machine into a plan."""

    def __init__(self, config: Config, shapes: Mapping[str, GPTConfig], jobs: Jobs, launchers: Launchers):
        self._config, self._shapes, self._jobs, self._launchers = config, shapes, jobs, launchers

    def make(self, manifest: Manifest) -> Plan:
        """Return the plan; takes as long as measuring does. ConfigError where a labelled set is missing."""
        given, missing = given_by(self._config, self._shapes, manifest)
        if missing:
            raise ConfigError(missing)
        tokens = self._config.tokens
        if tokens is None or tokens.seconds is None:
            return plan_of(self._config, given)
        batch = int(self._config.train["global_batch_tokens"])
        short = replace(given, count=tokens.calibration_steps * batch)
        _, runs = assemble(self._config, short)
        measurements = self._measure(runs)
        count = self._tokens_within(tokens.seconds, runs, measurements)
        return plan_of(self._config, replace(given, count=count, measurements=measurements))

    def _measure(self, runs: tuple[PlannedRun, ...]) -> dict[str, Measurement]:
        """Return the speed of each size, of which the largest alone is evaluated."""
        first = {run.rung: run for run in reversed(runs)}
        biggest = max(first.values(), key=lambda run: run.params_non_embedding)
        trials = [
            calibrate.Trial(
                rung=run.rung,
                train={**run.train, "log_every_steps": 1},
                threads=run.threads,
                evaluated=run is biggest,
            )
            for run in reversed(first.values())
        ]
        launchers = {trial.threads: self._launchers(trial.threads) for trial in trials}
        return calibrate.measure(
            trials, self._jobs, launchers, processes=self._config.processes, threads=self._config.threads
        )

    def _tokens_within(
        self, seconds: float, runs: tuple[PlannedRun, ...], measurements: Mapping[str, Measurement]
    ) -> int:
        groups = [
            [measurements[run.rung] for run in runs if bool(run.awaits) == is_held]
            for is_held in (False, True)
        ]
        batch = int(self._config.train["global_batch_tokens"])
        return plans.tokens_within(seconds, groups, self._config.processes, batch)


def given_by(
    config: Config, shapes: Mapping[str, GPTConfig], manifest: Manifest | None
) -> tuple[Given, list[str]]:
    """Return what a plan rests on before anything is measured, and what is said of what is not there yet."""
    labelled, missing = finetuning.labelled(config)
    given = Given(
        shapes=shapes,
        data_hash=manifest.hash if manifest else "",
        data_tokens=manifest.tokens("train") if manifest else 0,
        measurements={},
        labelled=labelled,
        tokenizer=manifest.load_tokenizer(config.data) if manifest and labelled else None,
    )
    return given, missing


def plan_of(config: Config, given: Given) -> Plan:
    """Return the plan that follows from what is given."""
    arms, runs = assemble(config, given)
    return Plan(
        config_hash=identity_hash(decisive(config)),
        identity=decisive(config),
        data_hash=given.data_hash,
        created=now(),
        train_tokens=runs[0].tokens,
        processes=config.processes,
        threads=config.threads,
        success=config.success.model_dump(),
        measurements=dict(given.measurements),
        runs=runs,
        arms=arms,
        hardware=config.hardware.name if config.hardware else "",
        price_per_hour=config.price_per_hour,
    )


def now() -> str:
    """Return the time, to the second, with its zone."""
    return datetime.now(UTC).isoformat(timespec="seconds")
