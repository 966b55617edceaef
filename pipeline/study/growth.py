"""A study that asks for more than when it began: more arms, sizes, seeds or checks join what is planned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.study.plan import Plan

FIXED = (
    "data",
    "family",
    "metric",
    "better",
    "abscissa",
    "success",
    "evaluate",
    "finetune",
    "datasets",
    "seeds",
)
"""What results are, and how they are judged: it was said before anything was trained."""


def refusal(found: Plan, changed: Sequence[str]) -> str:
    """Return why the changes cannot be more of the same study, or nothing."""
    keys = {line.partition(":")[0].partition(".")[0] for line in changed}
    fixed = [key for key in FIXED if key in keys]
    if fixed:
        return f" ({', '.join(fixed)} may not change)"
    return " (its tokens were measured for the runs that it has)" if found.measurements else ""


def grown(found: Plan, made: Plan) -> Plan:
    """Return the new plan, in which runs that were planned before keep their names, and so fine-tunings."""
    before = {run.config_hash: run for run in found.runs}
    kept = {run.name: before.get(run.config_hash, run) for run in made.runs}
    runs = tuple(
        replace(
            run,
            name=kept[run.name].name,
            parent=kept[run.parent].name if run.parent else None,
            finetunings=kept[run.name].finetunings,
        )
        for run in made.runs
    )
    return replace(made, runs=runs, created=found.created)


def refusal_of_runs(found: Plan, made: Plan | None, fits: Path) -> str:
    """Return why the study cannot go on with another plan: a run that it had is gone, or a choice is void."""
    if made is None:
        return ""
    lost = {run.config_hash for run in found.runs} - {run.config_hash for run in made.runs}
    if lost:
        names = [run.name for run in found.runs if run.config_hash in lost]
        of = f"{len(names)} of its {len(found.runs)} runs are asked for no longer"
        return f" ({of}: {', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
    main, other = (plan.of_arm(plan.arms[0].name) for plan in (found, made))
    if not {run.config_hash for run in main} <= {run.config_hash for run in other}:
        return " (another arm comes first, by which it would be judged)"
    if not any(fits.glob("*choice.json")):
        return ""
    largest = {arm.name: _largest(found, arm.name) for arm in found.arms if arm.is_ladder}
    moved = [name for name in largest if _largest(made, name or made.arms[0].name) != largest[name]]
    if moved:
        return f" (the largest size of {', '.join(name or 'it' for name in moved)} was predicted already)"
    return ""


def _largest(plan: Plan, arm: str) -> int:
    return max((run.params_non_embedding for run in plan.of_arm(arm)), default=0)
