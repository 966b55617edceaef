"""One study while it is carried out: its plan, its runs, its predictions and its verdict."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launch.code import Code
from launch.launcher import Job
from model.config import GPTConfig
from pipeline.config import differences, dump
from pipeline.errors import ConfigError
from pipeline.formats.manifest import Manifest
from pipeline.formats.publish import read_json, write_json, write_text
from pipeline.study import analysis, collect, growth, order, sweep, telling
from pipeline.study import plan as plans
from pipeline.study.assemble import threads_of
from pipeline.study.collect import Point
from pipeline.study.config import Config, decisive
from pipeline.study.jobs import Jobs, finetuned
from pipeline.study.plan import Plan, PlannedArm, PlannedRun
from pipeline.study.planner import Launchers, Planner, now
from pipeline.study.pool import Chain, Pool, recorded_failures

LOG = logging.getLogger("loglinear.study")

PLAN, POINTS, VERDICT = "plan.json", "points.csv", "verdict.json"


class Study:
    """A study's directory and what is to be done in it."""

    def __init__(
        self, config: Config, shapes: Mapping[str, GPTConfig], launchers: Launchers, is_queued: bool = False
    ):
        if is_queued and config.tokens is not None and config.tokens.seconds is not None:
            raise ConfigError(
                "tokens.seconds: how fast a job trains here says nothing of the cluster's; give tokens.count"
            )
        self._config, self._launchers, self._out = config, launchers, config.out
        self._code = Code.here()  # the same for all jobs, however long the study takes
        own = self._code.variables(config.out, {**os.environ, **config.environment})
        self._jobs = Jobs(
            out=config.out,
            data=config.data,
            evaluate=config.evaluate,
            environment={**config.environment, **own},
            labelled=config.labelled,
            is_queued=is_queued,
        )
        self._planner = Planner(config, shapes, self._jobs, launchers)

    def finish(self) -> list[str]:
        """Plan, train, evaluate, fine-tune, predict, judge."""
        self._code.pack(self._out)
        plan = self._plan()
        write_text(self._out / "config.yaml", dump(self._config))
        target = self._out / VERDICT
        known = self._known()
        if target.is_file() and all(run.config_hash in known for run in plan.points):
            found = read_json(target)
            if found.get("study", plan.config_hash) == plan.config_hash:
                return ["finished already:", *found["summary"]]
        for line in telling.table(plan):
            LOG.info("%s", line)
        self._train(plan)
        verdict = self._sweep(plan) if self._config.is_sweep else self._judged(plan)
        failures = recorded_failures(self._jobs.records)
        write_json(target, {"written": now(), "study": plan.config_hash, "failures": failures, **verdict})
        return list(verdict["summary"])

    def first_jobs(self) -> list[Job]:
        """Return the trainings that can start at once, finished ones left out."""
        path = self._out / PLAN
        plan = plans.read(path) if path.is_file() else self._planner.make(Manifest.read(self._config.data))
        missing = self._missing(plan)
        done = {run.name for run in plan.runs} - {run.name for run in missing}
        return [self._jobs.train_job(run.name) for run in missing if order.needed(plan, run) <= done]

    def _plan(self) -> Plan:
        """Return the frozen plan: made now if there is none, or with more runs if more is asked for.

        ConfigError shows what has changed since if it is another study.
        """
        path = self._out / PLAN
        manifest = Manifest.read(self._config.data)
        if not path.is_file():
            made = self._planner.make(manifest)
            write_json(path, made.as_json())
            return plans.read(path)
        found = plans.read(path)
        changed = differences(
            {"data": found.data_hash, **found.identity}, {"data": manifest.hash, **decisive(self._config)}
        )
        if not changed:
            return found
        why_not = growth.refusal(found, changed)
        grown = None if why_not else growth.grown(found, self._planner.make(manifest))
        why_not = why_not or growth.refusal_of_runs(found, grown, self._fits)
        if grown is None or why_not:
            raise ConfigError(
                [
                    f"{path}: this directory holds another study{why_not}; use another `out`, or undo:",
                    *changed,
                ]
            )
        new = len(grown.runs) - len(found.runs)
        LOG.info("the study has %s: %s", f"grown by {new} runs" if new else "no new runs", "; ".join(changed))
        write_json(path, grown.as_json())
        return grown

    def _train(self, plan: Plan) -> None:
        """Finish all runs, each ladder's largest once it is predicted; points.csv holds what is finished."""
        training = _Training(self._config, plan, self._jobs, self._fits)
        missing = self._missing(plan)
        capacity = self._config.processes * self._config.threads
        pool = Pool(self._launchers, capacity, self._jobs.records)
        pool.run(training.chains(missing), "training the runs", training.finished)
        training.predict_all()

    def _judged(self, plan: Plan) -> dict[str, Any]:
        return dict(analysis.verdict(self._points(plan), plan, self._fits, self._config))

    def _sweep(self, plan: Plan) -> dict[str, Any]:
        config = self._config
        points = collect.select(self._points(plan), config.metric)
        widths = {rung.name: rung.model.n_embd for rung in config.sizes}
        rungs = {run.name: run.rung for run in plan.runs}
        return sweep.verdict(points, rungs, widths, config.metric, 1 if config.better == "higher" else -1)

    def _missing(self, plan: Plan) -> list[PlannedRun]:
        """Return the runs that are not in points.csv, with the trunks that these go on from; in order."""
        known = self._known()
        wanted = {run.name for run in plan.points if run.config_hash not in known}
        parents = {run.name: run.parent for run in plan.runs}
        for name in list(wanted):
            while (name := parents[name] or "") and name not in wanted:
                wanted.add(name)
        return [run for run in order.in_order(plan) if run.name in wanted]

    def _points(self, plan: Plan) -> list[Point]:
        planned = {run.config_hash for run in plan.points}
        return [point for point in collect.read(self._out / POINTS) if point.config_hash in planned]

    def _known(self) -> set[str]:
        return {point.config_hash for point in collect.read(self._out / POINTS)}

    @property
    def _fits(self) -> Path:
        return self._out / "fits"


class _Training:
    """The runs of a plan on their way: what is done, and which predictions are made."""

    def __init__(self, config: Config, plan: Plan, jobs: Jobs, fits: Path):
        self._config, self._plan, self._jobs, self._fits = config, plan, jobs, fits
        self._runs = {run.name: run for run in plan.runs}
        self._done: set[str] = set()
        self._predicted: set[str] = set()

    def chains(self, missing: list[PlannedRun]) -> list[Chain]:
        """Return the jobs of the runs that are missing, in the order in which they should start."""
        self._done = set(self._runs) - {run.name for run in missing}
        return [self._chain(run) for run in missing]

    def finished(self, name: str) -> None:
        """Take a run's results into points.csv."""
        self._done.add(name)
        run, path = self._runs[name], self._config.out / POINTS
        if run.is_trunk:
            return
        planned = {each.config_hash for each in self._plan.points} - {run.config_hash}
        kept = [point for point in collect.read(path) if point.config_hash in planned]
        found = {job.dataset: finetuned(self._config.out, job) for job in run.finetunings}
        tuned = {dataset: summary for dataset, summary in found.items() if summary}
        new = collect.of_run(run, self._jobs.run(name), self._config.family, tuned)
        collect.write(path, [*kept, *new])

    def predict_all(self) -> None:
        """Make the predictions that are not on disk; those of sizes that were trained are marked as such."""
        for arm in self._plan.arms:
            if arm.is_ladder:
                self._predict(arm)

    def _chain(self, run: PlannedRun) -> Chain:
        needs = order.needed(self._plan, run)
        arms = [arm for arm in self._plan.arms if arm.name in run.awaits]

        def may_start() -> bool:
            if not needs <= self._done:
                return False
            for arm in arms:
                self._predict(arm)
            return True

        return self._jobs.chain(
            run.name,
            run.train,
            threads=threads_of(self._config, run, self._plan.runs),
            seconds=run.estimated_seconds,
            evaluated=not run.is_trunk,
            parent=run.parent,
            finetunings=run.finetunings,
            may_start=may_start,
        )

    def _predict(self, arm: PlannedArm) -> None:
        """Choose an arm's law and write down what it says of the largest size, unless that is on disk."""
        if arm.name in self._predicted:
            return
        self._predicted.add(arm.name)
        points = collect.read(self._config.out / POINTS)
        known = {point.config_hash for point in points}
        largest = [run for run in self._plan.of_arm(arm.name) if arm.name in run.awaits]
        begun = any(run.config_hash in known or self._jobs.run(run.name).config.is_file() for run in largest)
        chosen = analysis.commit(points, self._plan, arm, self._fits, self._config, is_untrained=not begun)
        prediction = chosen["prediction"]
        LOG.info("%s predicts %.4f for %s", chosen["chosen"], prediction["value"], prediction["rung"])
