"""In which order the runs of a study start: what gives a first answer early, and what waits for what."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.study.plan import Plan, PlannedRun


def in_order(plan: Plan) -> list[PlannedRun]:
    """Return the runs in the order in which they should start, each after all that it needs.

    Arm by arm, the main one first; in each the first seeds of all sizes, from small to large, then the next
    seeds, and last the largest size, once the others have predicted it. A trunk has fewer tokens than what
    goes on from it. Where the time of all runs is the budget, the longest start first: so they end together.
    """
    if plan.measurements:
        return sorted(plan.runs, key=lambda run: (bool(run.awaits), -(run.estimated_seconds or 0)))
    arms = {arm.name: place for place, arm in enumerate(plan.arms)}
    seeds = _ranks_of_seeds(plan)

    def key(run: PlannedRun) -> tuple[int, bool, int, int, int]:
        place = min(arms.get(name, len(arms)) for name in run.arms)
        return (place, bool(run.awaits), seeds[run.name], run.params_non_embedding, run.tokens)

    return sorted(plan.runs, key=key)


def needed(plan: Plan, run: PlannedRun) -> frozenset[str]:
    """Return the names of the runs that must be done before one can start."""
    below = {
        other.name
        for arm in run.awaits
        for other in plan.runs
        if arm in other.arms and arm not in other.awaits
    }
    return frozenset(below | ({run.parent} if run.parent else set()))


def duration(plan: Plan, seconds: Mapping[str, float | None]) -> float | None:
    """Return how long runs take by what each takes, started in order; those without an entry are done.

    None where that of one is not known.
    """
    waiting = [run for run in in_order(plan) if run.name in seconds]
    if any(seconds[run.name] is None for run in waiting):
        return None
    free, now, done = plan.processes * plan.threads, 0.0, {run.name for run in plan.runs} - set(seconds)
    ends: list[tuple[float, str, int]] = []
    needs = {run.name: needed(plan, run) for run in waiting}
    while waiting or ends:
        for run in [run for run in waiting if needs[run.name] <= done]:
            threads = min(run.threads, plan.processes * plan.threads)
            if threads > free:
                break  # what comes later must not take the place that this one waits for
            waiting.remove(run)
            free -= threads
            heapq.heappush(ends, (now + (seconds[run.name] or 0.0), run.name, threads))
        if not ends:
            break  # nothing can start: a parent is not planned
        now, name, threads = heapq.heappop(ends)
        free += threads
        done.add(name)
    return now


def _ranks_of_seeds(plan: Plan) -> dict[str, int]:
    """Return of each run whether its seed is its size's first, second, …; by name."""
    seeds: dict[str, list[int]] = {}
    for run in plan.runs:
        if run.seed not in seeds.setdefault(run.rung, []):
            seeds[run.rung].append(run.seed)
    return {run.name: seeds[run.rung].index(run.seed) for run in plan.runs}
