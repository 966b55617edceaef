"""What a study does: which of its runs are done, run or wait, and what the rest will still cost."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import FormatError
from pipeline.formats.publish import read_json
from pipeline.formats.run import Run
from pipeline.study import collect, order, telling
from pipeline.study import plan as plans
from pipeline.study.finetuning import FineTuning
from pipeline.study.jobs import finetune_record, finetuned, train_record
from pipeline.study.plan import Plan, PlannedRun
from pipeline.study.pool import recorded_failures, recorded_seconds
from pipeline.study.price import interpolated

QUIET_SECONDS = 120.0
"""A run whose last row is older does not train, or has just begun to be evaluated."""


@dataclass(frozen=True)
class Standing:
    """How far a run is: the share of its own tokens that is trained, and tokens a second while it trains."""

    words: str
    share: float
    speed: float | None = None


def lines(directory: Path) -> list[str]:
    """Return the table of a study's runs and what they still cost; nothing where no plan of runs is."""
    path = directory / "plan.json"
    if not path.is_file() or "finetunings" in read_json(path):
        return []
    try:
        plan = plans.read(path)
    except FormatError as fault:
        return [str(fault)]
    known = {point.config_hash for point in collect.read(directory / "points.csv")}
    done = {run.name for run in plan.runs if run.config_hash in known}
    standings = {run.name: _standing(directory, plan, run, done) for run in order.in_order(plan)}
    left = _seconds_left(directory, plan, standings)
    width = max(len(name) for name in standings) + 2
    table = [f"{'run':<{width}}{'tokens':>13}{'trained':>9}{'tokens/s':>10}{'s left':>9}  state"]
    runs = {run.name: run for run in plan.runs}
    for name, standing in standings.items():
        speed = "" if standing.speed is None else f"{standing.speed:,.0f}"
        seconds = left.get(name, 0.0)
        rest = "?" if seconds is None else f"{seconds:,.0f}" if seconds else ""
        table.append(
            f"{name:<{width}}{runs[name].tokens:>13,}{standing.share:>9.0%}{speed:>10}{rest:>9}  "
            f"{standing.words}"
        )
    return [*table, *_predictions(directory), *_still(directory, plan, standings, left)]


def _standing(directory: Path, plan: Plan, run: PlannedRun, done: set[str]) -> Standing:
    if run.name in done:
        return Standing("done", 1.0)
    found = Run(directory / "runs" / run.name)
    counted, jobs = recorded_failures(directory / "jobs"), run.finetunings
    failures = sum(counted.get(name, 0) for name in (train_record(run.name), *map(finetune_record, jobs)))
    failed = f", failed {failures} times" if failures > 1 else ", failed once" if failures else ""
    if found.finished:
        tuned = len(jobs) - len(_to_tune(directory, run))
        words = f"trained, fine-tuned on {tuned} of {len(jobs)}" if jobs else "trained, to be evaluated"
        return Standing(("trunk trained" if run.is_trunk else words) + failed, 1.0)
    rows = [row for row in found.rows() if row.get("loss") is not None]
    if rows:
        share = (rows[-1]["tokens"] - run.parent_tokens) / (run.tokens - run.parent_tokens)
        age = time.time() - found.metrics.stat().st_mtime
        if age < QUIET_SECONDS:
            told = f"runs, loss {rows[-1]['loss']:.3f}{failed}"
            return Standing(told, share, rows[-1].get("tokens_per_second"))
        return Standing(f"begun, last row {telling.duration(age)} ago{failed}", share)
    lacking = order.needed(plan, run) - done
    waits = "for its trunk" if run.parent in lacking else "for the prediction" if run.awaits else ""
    return Standing(f"waits {waits}".strip() + failed if lacking else "to be trained" + failed, 0.0)


def _seconds_left(directory: Path, plan: Plan, standings: Mapping[str, Standing]) -> dict[str, float | None]:
    """Return how long each run that is not done still takes.

    By what the study's own runs have taken, between sizes as `Hardware` does, and where none is done yet by
    the plan's estimate.
    """
    taken = [
        (run.flops / run.tokens, (run.tokens - run.parent_tokens) / (seconds * run.threads))
        for run in plan.runs
        if (seconds := recorded_seconds(directory / "jobs", train_record(run.name)))
    ]
    left: dict[str, float | None] = {}
    for run in plan.runs:
        if standings[run.name].words == "done" or (run.is_trunk and standings[run.name].share == 1):
            continue
        seconds, flops = run.estimated_seconds, run.new_flops + run.finetune_flops
        if taken:
            seconds = flops / interpolated(taken, run.flops / run.tokens) / run.threads
        rest = _flops_left(directory, run, standings[run.name]) / flops
        left[run.name] = None if seconds is None else seconds * rest
    return left


def _to_tune(directory: Path, run: PlannedRun) -> list[FineTuning]:
    return [job for job in run.finetunings if finetuned(directory, job) is None]


def _flops_left(directory: Path, run: PlannedRun, standing: Standing) -> float:
    """Return what a run that is not done still spends, its fine-tunings with it."""
    tunings = math.fsum(job.flops or 0.0 for job in _to_tune(directory, run))
    return run.new_flops * (1 - standing.share) + tunings


def _predictions(directory: Path) -> list[str]:
    """Return what was predicted of the largest sizes, so far."""
    said = []
    for path in sorted((directory / "fits").glob("*choice.json")):
        choice = read_json(path)
        prediction = choice["prediction"]
        low, high = prediction["low"], prediction["high"]
        interval = f" (95 % {low:.4f} to {high:.4f})" if low is not None else ""
        said.append(
            f"predicted {choice['written']}: {choice['metric']} of {prediction['rung']} "
            f"{prediction['value']:.4f}{interval}, by the {choice['chosen']} law ({path.name})"
        )
    return said


def _still(
    directory: Path, plan: Plan, standings: Mapping[str, Standing], left: Mapping[str, float | None]
) -> list[str]:
    """Return how much is done and what the rest costs."""
    rest = [run for run in plan.runs if run.name in left]
    done = f"{len(plan.runs) - len(rest)} of {len(plan.runs)} runs are done"
    if not rest:
        return [done]
    flops = sum(_flops_left(directory, run, standings[run.name]) for run in rest)
    seconds = order.duration(plan, left)
    if seconds is None:
        return [f"{done}; still {flops:.3g} FLOPs ({plan.flops_formula})"]
    price = telling.price_of(plan, seconds)
    told = f", {price} at {plan.price_per_hour:g} an hour" if price else ""
    return [
        f"{done}; still {flops:.3g} FLOPs ({plan.flops_formula}), about {telling.duration(seconds)}{told}"
    ]
