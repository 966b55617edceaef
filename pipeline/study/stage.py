"""The study stage: a ladder of sizes (or a sweep of learning rates), trained, evaluated, fitted and judged.

A configuration with `trials` is another design, a comparison of them: see `comparison`.

A ladder's directory holds plan.json (frozen before anything is trained), configs/, runs/, jobs/ (what became
of each job), points.csv, fits/ (choice.json is written before the largest size is trained), verdict.json and
figures/.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from launch.code import Code
from launch.launcher import Job, Queue
from launch.launchers import local
from pipeline.config import differences, dump
from pipeline.errors import ConfigError
from pipeline.formats.lock import sole_writer
from pipeline.formats.manifest import NAME as MANIFEST
from pipeline.formats.manifest import Manifest
from pipeline.formats.publish import read_json, remove_leftovers, write_json, write_text
from pipeline.study import choice, collect, comparison, figures, rule, sweep, trial_plan, trials
from pipeline.study import plan as plans
from pipeline.study.collect import Point
from pipeline.study.config import Config, Preview, decisive
from pipeline.study.config import plan as preview_of
from pipeline.study.fit import Fit, fit_points
from pipeline.study.form import load
from pipeline.study.jobs import Jobs
from pipeline.study.plan import Plan, PlannedRun
from pipeline.study.planner import Launchers, Planner, now, threads_of_largest
from pipeline.study.pool import Pool, recorded_failures

__all__ = ["Config", "Preview", "describe", "plan", "run"]

LOG = logging.getLogger("loglinear.study")


def plan(config: Config | trials.Config) -> Preview | trial_plan.Plan:
    """Return what follows from a configuration of either design; ConfigError where it cannot be."""
    return trial_plan.make(config) if isinstance(config, trials.Config) else preview_of(config)


def describe(config: Config | trials.Config, preview: Preview | trial_plan.Plan) -> str:
    """Return what will be done as lines for people: the frozen plan where there is one, else the sizes."""
    if isinstance(config, trials.Config):
        assert isinstance(preview, trial_plan.Plan)
        return comparison.describe(config, preview)
    assert isinstance(preview, Preview)
    path = config.out / "plan.json"
    return "\n".join(plans.table(plans.read(path)) if path.is_file() else preview.lines())


def script(config: Config | trials.Config, preview: Preview | trial_plan.Plan, queue: Queue) -> str:
    """Return the array of the runs that would be submitted first; touches nothing."""
    if isinstance(config, trials.Config):
        assert isinstance(preview, trial_plan.Plan)
        return comparison.script(config, preview, queue)
    assert isinstance(preview, Preview)
    if not (config.data / MANIFEST).is_file():
        return f"{config.data}: the dataset is not there yet; its runs would be one array of the queue"
    jobs = _Study(config, preview, lambda _: queue, is_queued=True).first_jobs()
    return queue.script_of(jobs) if jobs else f"{config.out}: every run is trained; no job would be submitted"


def run(
    config: Config | trials.Config,
    preview: Preview | trial_plan.Plan,
    launchers: Launchers | None = None,
    queue: Queue | None = None,
) -> str:
    """Carry the study to its verdict and return that as text; what is finished is not done again.

    `launchers` gives the launcher of a job with so many threads, by default child processes of this one;
    with a `queue` the jobs go there, while this process waits for them.
    """
    start = launchers or (lambda threads: queue or local.Config(threads=threads).build())
    if isinstance(config, trials.Config):
        assert isinstance(preview, trial_plan.Plan)
        return comparison.run(config, preview, start, is_queued=queue is not None)
    assert isinstance(preview, Preview)
    config.out.mkdir(parents=True, exist_ok=True)
    refusal = f"{config.out}: another process works on this study; wait for it, or stop it"
    with sole_writer(config.out / "study.lock", refusal):
        remove_leftovers(config.out)
        summary = _Study(config, preview, start, is_queued=queue is not None).finish()
    for line in summary:
        LOG.info("%s", line)
    return "\n".join(summary)


class _Study:
    """One study while it is carried out."""

    def __init__(self, config: Config, preview: Preview, launchers: Launchers, is_queued: bool = False):
        if is_queued and config.tokens.count is None:
            raise ConfigError(
                "tokens.seconds: how fast a job trains here says nothing of the cluster's; give tokens.count"
            )
        self._config, self._preview, self._launchers = config, preview, launchers
        self._code = Code.here()  # the same for all jobs, however long the study takes
        own = self._code.variables(config.out, {**os.environ, **config.environment})
        self._jobs = Jobs(
            out=config.out,
            data=config.data,
            evaluate=config.evaluate,
            environment={**config.environment, **own},
            is_queued=is_queued,
        )
        self._sign = 1 if config.better == "higher" else -1

    def finish(self) -> list[str]:
        """Plan, train, evaluate, fit, judge."""
        self._code.pack(self._config.out)
        plan = self._plan()
        write_text(self._config.out / "config.yaml", dump(self._config))
        target = self._config.out / "verdict.json"
        known = {point.config_hash for point in collect.read(self._config.out / "points.csv")}
        if target.is_file() and all(run.config_hash in known for run in plan.runs):
            return ["finished already:", *read_json(target)["summary"]]
        for line in plans.table(plan):
            LOG.info("%s", line)
        verdict = self._sweep(plan) if self._config.arms else self._ladder(plan)
        write_json(target, {"written": now(), "failures": recorded_failures(self._jobs.records), **verdict})
        return list(verdict["summary"])

    def first_jobs(self) -> list[Job]:
        """Return the trainings that can start at once, finished ones left out."""
        path = self._config.out / "plan.json"
        data_hash = Manifest.read(self._config.data).hash
        plan = plans.read(path) if path.is_file() else self._planner.make(data_hash)
        known = {point.config_hash for point in collect.read(self._config.out / "points.csv")}
        missing = [run for run in plan.runs if run.config_hash not in known]
        below = [run for run in missing if not run.is_largest] or missing
        return [self._jobs.train_job(run.name) for run in below if not self._jobs.run(run.name).finished]

    @property
    def _planner(self) -> Planner:
        return Planner(self._config, self._preview, self._jobs, self._launchers)

    def _ladder(self, plan: Plan) -> dict[str, Any]:
        below = [run for run in plan.runs if not run.is_largest]
        largest = [run for run in plan.runs if run.is_largest]
        points = self._train(plan, below, self._config.threads)
        chosen = choice.commit(self._fits / "choice.json", points, self._config.metric, self._target(largest))
        LOG.info(
            "%s predicts %.4f for %s",
            chosen["chosen"],
            chosen["prediction"]["value"],
            chosen["prediction"]["rung"],
        )
        points += self._train(plan, largest, threads_of_largest(self._config, len(largest)))
        fits = self._fit(points)
        verdict = rule.verdict(rule.sizes(points, plan), fits, chosen, plan, self._config.better)
        figures.ladder(self._config.out / "figures", plan, verdict, fits, self._jobs.run)
        return verdict

    def _sweep(self, plan: Plan) -> dict[str, Any]:
        points = self._train(plan, list(plan.runs), self._config.threads)
        widths = {rung.name: rung.model.n_embd for rung in self._config.rungs}
        rungs = {run.name: run.rung for run in plan.runs}
        verdict = sweep.verdict(points, rungs, widths, self._config.metric, self._sign)
        figures.sweep(self._config.out / "figures", verdict)
        return verdict

    def _train(self, plan: Plan, runs: list[PlannedRun], threads: int) -> list[Point]:
        """Finish these runs and return their points of the study's metric; points.csv holds all metrics."""
        path = self._config.out / "points.csv"
        known = collect.read(path)
        hashes = {point.config_hash for point in known}
        missing = [run for run in runs if run.config_hash not in hashes]
        chains = [
            self._jobs.chain(r.name, r.train, threads=threads, seconds=r.estimated_seconds) for r in missing
        ]
        slots = max(1, self._config.processes * self._config.threads // threads)
        Pool(self._launchers(threads), slots, self._jobs.records).run(chains, "training the ladder")
        for one in missing:
            known += collect.of_run(one, self._jobs.run(one.name), self._config.family)
        planned = {run.config_hash for run in plan.runs}
        collect.write(path, [point for point in known if point.config_hash in planned])
        wanted = {run.config_hash for run in runs}
        return collect.select([p for p in known if p.config_hash in wanted], self._config.metric)

    def _fit(self, points: list[Point]) -> dict[str, Fit]:
        fits = {}
        for name in choice.CANDIDATES:
            form = load(name)
            fits[name] = fit_points(
                form, collect.as_points(points, self._config.abscissa), loss=choice.study_loss(form)
            )
            write_json(self._fits / f"{name}.json", fits[name].as_json())
        return fits

    def _target(self, largest: list[PlannedRun]) -> choice.Target:
        untrained = not any(self._jobs.run(run.name).config.is_file() for run in largest)
        size = float(getattr(largest[0], self._config.abscissa))
        return choice.Target(
            rung=largest[0].rung, abscissa=self._config.abscissa, size=size, is_untrained=untrained
        )

    @property
    def _fits(self) -> Path:
        return self._config.out / "fits"

    def _plan(self) -> Plan:
        """Return the frozen plan, made now if there is none; ConfigError shows what has changed since."""
        path = self._config.out / "plan.json"
        data_hash = Manifest.read(self._config.data).hash
        asked = decisive(self._config)
        if not path.is_file():
            made = self._planner.make(data_hash)
            write_json(path, made.as_json())
        found = plans.read(path)
        changed = differences({"data": found.data_hash, **found.identity}, {"data": data_hash, **asked})
        if changed:
            raise ConfigError(
                [f"{path}: this directory holds another study; use another `out`, or undo:", *changed]
            )
        return found
