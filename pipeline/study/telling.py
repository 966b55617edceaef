"""A study's plan as lines for people: every run, then what each arm and the whole come to."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.study.plan import Plan, PlannedArm, PlannedRun


def table(plan: Plan) -> list[str]:
    """Return a line for each run and arm, then FLOPs, hours and price of all, and what repeats the data."""
    width = max(len("run"), *(len(run.name) for run in plan.runs)) + 2
    lines = [
        f"{'run':<{width}}{'non-embedding':>14}{'all':>15}{'lr':>10}{'batch':>11}{'tokens':>17}"
        f"{'tokens/param':>14}{'epochs':>8}{'FLOPs':>10}{'s':>8}"
    ]
    lines += [_line(run, width) for run in plan.runs]
    if len(plan.arms) > 1 or plan.arms[0].name:
        lines += [told_of_arm(plan, arm) for arm in plan.arms]
    lines += told_of_finetunings(plan)
    return [*lines, *totals(plan)]


def totals(plan: Plan) -> list[str]:
    """Return what all runs come to: FLOPs by the named formula, hours and price where a speed is known."""
    flops, seconds = sum(run.new_flops for run in plan.runs), plan.estimated_seconds
    told = "" if seconds is None else f", about {duration(seconds)}{_where(plan)}{_price(plan, seconds)}"
    tuning = math.fsum(run.finetune_flops for run in plan.runs)
    tuned = f" and about {tuning:.3g} of fine-tuning" if tuning else ""
    lines = [
        f"{len(plan.runs)} runs, {_tokens(plan.runs):,} tokens, {flops:.3g} FLOPs ({plan.flops_formula})"
        f"{tuned}, {plan.processes} side by side with {plan.threads} thread(s) each{told}"
    ]
    repeated = [run for run in plan.points if run.epochs > 1]
    if repeated:
        most = max(repeated, key=lambda run: run.epochs)
        lines.append(
            f"{len(repeated)} runs see the {most.data_tokens:,} training tokens repeatedly, "
            f"up to {most.epochs:.2f} times ({most.name})"
        )
    return lines


def told_of_arm(plan: Plan, arm: PlannedArm) -> str:
    """Return an arm's rule, and what its runs come to; a run that arms share counts for the first of them."""
    runs = [run for run in plan.runs if run.arm == arm.name]
    shared = sum(arm.name in run.also for run in plan.runs)
    busy = busy_seconds(plan, runs)
    parts = [
        f"{len(runs)} runs" + (f" and {shared} that another arm trains" if shared else ""),
        f"{_tokens(runs):,} tokens",
        f"{sum(run.new_flops for run in runs):.3g} FLOPs",
        *([] if busy is None else [f"{duration(busy)} of the machine{_price(plan, busy)}"]),
    ]
    rule = f"{arm.regime}: {arm.words}" if arm.regime not in arm.words else arm.words
    return (
        f"arm {arm.name or 'main'} ({rule}{'; its largest is predicted' if arm.is_ladder else ''}): "
        + ", ".join(parts)
    )


def told_of_finetunings(plan: Plan) -> list[str]:
    """Return what the fine-tunings on each dataset come to; tokens and FLOPs are estimates."""
    lines = []
    for dataset in dict.fromkeys(job.dataset for run in plan.runs for job in run.finetunings):
        chosen = [(run, job) for run in plan.runs for job in run.finetunings if job.dataset == dataset]
        jobs = [job for _, job in chosen]
        told = [f"{sum(job.steps for job in jobs):,} steps"]
        if all(job.flops is not None for job in jobs):
            flops = math.fsum(job.flops or 0.0 for job in jobs)
            told += [f"about {sum(job.tokens for job in jobs):,.0f} tokens and {flops:.3g} FLOPs"]
        busy = _busy(plan, [(run.threads, job.seconds) for run, job in chosen])
        told += [] if busy is None else [f"{duration(busy)} of the machine{_price(plan, busy)}"]
        times = f"{len(jobs)} runs with {len(jobs[0].seeds)} seeds each"
        lines.append(f"fine-tuning on {dataset} ({jobs[0].metric}): {times}, {', '.join(told)}")
    return lines


def busy_seconds(plan: Plan, runs: Sequence[PlannedRun]) -> float | None:
    """Return how long runs would take if they filled the machine; None where a speed is not known."""
    return _busy(plan, [(run.threads, run.estimated_seconds) for run in runs])


def _busy(plan: Plan, jobs: Sequence[tuple[int, float | None]]) -> float | None:
    """Return how long jobs, each with its threads and seconds, would take if they filled the machine."""
    if any(seconds is None for _, seconds in jobs):
        return None
    places = plan.processes * plan.threads
    return math.fsum((seconds or 0.0) * min(threads, places) / places for threads, seconds in jobs)


def duration(seconds: float) -> str:
    """Return a length of time as people say it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def price_of(plan: Plan, seconds: float) -> str:
    """Return what a time on the machine costs, or nothing where no price is known."""
    return "" if plan.price_per_hour is None else f"{seconds / 3600 * plan.price_per_hour:,.2f}"


def _price(plan: Plan, seconds: float) -> str:
    price = price_of(plan, seconds)
    return f", {price} at {plan.price_per_hour:g} an hour" if price else ""


def _where(plan: Plan) -> str:
    return f" on {plan.hardware}" if plan.hardware else ""


def _tokens(runs: Sequence[PlannedRun]) -> int:
    return sum(run.tokens - run.parent_tokens for run in runs)


def _line(run: PlannedRun, width: int) -> str:
    seconds = f"{run.estimated_seconds:.0f}" if run.estimated_seconds is not None else "?"
    epochs = "?" if math.isnan(run.epochs) else f"{run.epochs:.2f}"
    return (
        f"{run.name:<{width}}{run.params_non_embedding:>14,}{run.params:>15,}{run.lr:>10.3g}"
        f"{run.batch_tokens:>11,}{run.tokens:>17,}{run.tokens_per_parameter:>14.1f}{epochs:>8}{run.new_flops:>10.2g}{seconds:>8}"
    )
