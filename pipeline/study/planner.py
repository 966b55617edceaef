"""Makes a study's plan: measures where time is the budget, then fixes every run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from launch.launcher import Launcher
from model.config import parameters_non_embedding
from pipeline.config import identity_hash
from pipeline.formats.manifest import Manifest
from pipeline.study import calibrate
from pipeline.study import plan as plans
from pipeline.study.config import Arm, Config, Preview, Rung, decisive, rate
from pipeline.study.jobs import Jobs
from pipeline.study.plan import Measurement, Plan, PlannedRun

Launchers = Callable[[int], Launcher]


class Planner:
    """Turns a configuration, a dataset and this machine into a plan."""

    def __init__(self, config: Config, preview: Preview, jobs: Jobs, launchers: Launchers):
        self._config, self._preview, self._jobs, self._launchers = config, preview, jobs, launchers

    def make(self, data_hash: str) -> Plan:
        """Return the plan; takes as long as measuring does."""
        config, batch = self._config, int(self._config.train["global_batch_tokens"])
        measurements: dict[str, Measurement] = {}
        tokens = config.tokens.count
        if tokens is None:
            measurements = self._measure()
            tokens = self._tokens_within(measurements)
        runs = self._runs(max(batch, tokens // batch * batch), measurements, data_hash)
        return Plan(
            config_hash=identity_hash(decisive(config)),
            identity=decisive(config),
            data_hash=data_hash,
            created=now(),
            train_tokens=runs[0].tokens,
            processes=config.processes,
            threads=config.threads,
            success=config.success.model_dump(),
            measurements=measurements,
            runs=tuple(runs) if config.arms else plans.mark_largest(runs),
        )

    def _runs(self, tokens: int, measurements: Mapping[str, Measurement], data_hash: str) -> list[PlannedRun]:
        in_split = Manifest.read(self._config.data).tokens("train")
        runs = [
            plans.describe_run(
                self._complete(rung, seed, tokens, arm),
                self._preview.shapes[rung.name],
                rung=rung.name,
                arm=arm.name if arm else "",
                data_hash=data_hash,
                data_tokens=in_split,
            )
            for rung in self._config.rungs
            for arm in (self._config.arms or (None,))
            for seed in rung.seeds
        ]
        if not measurements:
            return runs
        return [
            replace(run, estimated_seconds=plans.run_seconds(measurements[run.rung], tokens)) for run in runs
        ]

    def _measure(self) -> dict[str, Measurement]:
        batch = int(self._config.train["global_batch_tokens"])
        tokens = self._config.tokens.calibration_steps * batch
        largest = self._largest()
        biggest = max(self._config.rungs, key=self._size)
        trials = [
            calibrate.Trial(
                rung=rung.name,
                train={**self._complete(rung, rung.seeds[0], tokens, None), "log_every_steps": 1},
                threads=threads_of_largest(self._config, len(rung.seeds))
                if rung is largest
                else self._config.threads,
                evaluated=rung is biggest,
            )
            for rung in self._config.rungs
        ]
        launchers = {trial.threads: self._launchers(trial.threads) for trial in trials}
        return calibrate.measure(
            trials, self._jobs, launchers, processes=self._config.processes, threads=self._config.threads
        )

    def _tokens_within(self, measurements: Mapping[str, Measurement]) -> int:
        largest, arms = self._largest(), max(len(self._config.arms), 1)
        below = [
            measurements[r.name]
            for r in self._config.rungs
            if r is not largest
            for _ in range(len(r.seeds) * arms)
        ]
        last = [measurements[largest.name]] * len(largest.seeds) if largest else []
        assert self._config.tokens.seconds is not None
        batch = int(self._config.train["global_batch_tokens"])
        return plans.tokens_within(self._config.tokens.seconds, [below, last], self._config.processes, batch)

    def _largest(self) -> Rung | None:
        """Return the rung that is held back, or None in a sweep, which holds none back."""
        if self._config.arms:
            return None
        return max(self._config.rungs, key=self._size)

    def _size(self, rung: Rung) -> int:
        return parameters_non_embedding(self._preview.shapes[rung.name])

    def _complete(self, rung: Rung, seed: int, tokens: int, arm: Arm | None) -> dict[str, Any]:
        return plans.complete(
            self._config.train,
            model=rung.shape,
            seed=seed,
            lr=rate(self._config, rung, arm.lr_factor if arm else 1.0),
            tokens=tokens,
            warmup_fraction=self._config.warmup_fraction,
        )


def threads_of_largest(config: Config, runs: int) -> int:
    """Return the threads of each of the largest size's runs: it trains last and has all of them."""
    if config.arms:
        return config.threads
    return max(config.threads, config.threads * config.processes // runs)


def now() -> str:
    """Return the time, to the second, with its zone."""
    return datetime.now(UTC).isoformat(timespec="seconds")
