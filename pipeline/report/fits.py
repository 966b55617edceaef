"""How the law was chosen, the largest size predicted and observed, and that the prediction came first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline.report import numbers
from pipeline.report.section import Block, Facts, Fold, Heading, Note, Section, Table
from pipeline.report.sources import Sources
from pipeline.report.studied import Study

NAME, TITLE = "fits", "Choice and prediction"


def section(sources: Sources) -> Section:
    """Return the section, or how to make the fits it needs."""
    study = sources.study
    if not study or not (study.fits or study.choice):
        remedy = "no fits/ here; `loglinear study CONFIG` writes them when its runs are finished"
        return Section(name=NAME, title=TITLE, remedy=remedy)
    blocks = chosen(study.choice)
    if held := held_out(study.verdict):
        blocks += [Heading("The largest size, predicted and observed"), Facts(held)]
        if noise := study.found("noise"):
            blocks.append(Note(f"Noise of one run: {noise['source']}."))
    moments = timeline(study, sources)
    if moments:
        times = [(moment.what, _written(moment.when)) for moment in moments]
        blocks += [Heading("What was written when"), order(moments), Facts(times, are_times=True)]
    if plan := _plan(study):
        blocks.append(Fold("The plan of every run", [plan]))
    return Section(name=NAME, title=TITLE, blocks=blocks)


def chosen(choice: Any) -> list[Block]:
    """Return how a law was chosen, and how near each came."""
    if not choice:
        return ["No choice yet: fits/choice.json is written when all sizes below the largest are finished."]
    observed = numbers.number(choice["left_out"]["observed"])
    rows = [
        (
            candidate["form"] + (" (chosen)" if candidate["form"] == choice["chosen"] else ""),
            numbers.number(candidate["predicted"]),
            observed,
            numbers.percent(candidate["relative_error"], 2),
            "yes" if candidate["eligible"] else f"no: {candidate['why_not'] or 'no prediction'}",
        )
        for candidate in choice["candidates"]
    ]
    said = f"How the law was chosen: {choice['rule']}. The second largest size scored {observed}; chosen was "
    return [
        f"{said}{choice['chosen']}.",
        Table(head=("law", "predicted", "observed", "error", "may be chosen"), rows=rows),
    ]


@dataclass(frozen=True)
class Moment:
    """Something that happened at a time; None where its file does not say."""

    kind: str
    what: str
    when: datetime | None


def timeline(study: Study, sources: Sources, arm: Mapping[str, Any] | None = None) -> list[Moment]:
    """Return what happened when in an arm, the main one unless another is given, as the files say.

    Plan, prediction, the largest runs, verdict.
    """
    choice = study.choice if arm is None else study.choice_of(arm)
    moments = []
    if study.plan:
        created = _time(study.plan.get("created"))
        moments.append(Moment("plan", "plan and rule of success frozen (plan.json)", created))
    if choice:
        file = "choice.json" if arm is None else arm["choice"]
        written = _time(choice.get("written"))
        moments.append(Moment("prediction", f"law chosen, largest size predicted (fits/{file})", written))
    names = study.runs_of(study.main if arm is None else arm["name"])
    largest = {run["name"] for run in study.plan["runs"] if run["is_largest"]} if study.plan else set()
    for trained in sources.runs:
        is_held = trained.name in largest and (names is None or trained.name in names)
        attempts = trained.run.attempts() if is_held else []
        if attempts:
            began = _time(attempts[0].get("started"))
            moments.append(Moment("largest", f"training of {trained.name} began (attempts/000.json)", began))
    if study.verdict:
        written = _time(study.verdict.get("written"))
        moments.append(Moment("verdict", "verdict written (verdict.json)", written))
    return moments


def order(moments: Sequence[Moment]) -> str:
    """Return whether the files show that the prediction was there before the largest size was trained."""
    predicted = [moment.when for moment in moments if moment.kind == "prediction"]
    trained = [moment.when for moment in moments if moment.kind == "largest"]
    if not predicted or not trained or None in (*predicted, *trained):
        return "The files do not show which came first, the prediction or the training of the largest size."
    ahead = (min(when for when in trained if when) - max(when for when in predicted if when)).total_seconds()
    if ahead >= 0:
        return f"The prediction was written {numbers.duration(ahead)} before the largest size began to train."
    return f"The largest size began to train {numbers.duration(-ahead)} before the prediction was written."


def _written(when: datetime | None) -> str:
    return when.strftime("%Y-%m-%d %H:%M:%S UTC") if when else numbers.MISSING


def _time(value: Any) -> datetime | None:
    """Return a time given in seconds since 1970 or in ISO 8601."""
    if isinstance(value, int | float) and not numbers.is_missing(value):
        return datetime.fromtimestamp(value, UTC)
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (TypeError, ValueError):
        return None


def held_out(verdict: Any) -> list[tuple[str, str]]:
    """Return the prediction of the largest size beside what it then scored, of a verdict or of one arm."""
    held = (verdict or {}).get("held_out")
    if not held:
        return []
    noises = held.get("error_in_noise")
    ends = numbers.interval((held["low"], held["high"]))
    inside = "inside" if held["inside_interval"] else "outside"
    return [
        ("size", str(held["rung"])),
        ("law", str(held["form"])),
        (
            "predicted",
            f"{numbers.number(held['predicted'])} (95 % interval {ends})",
        ),
        ("observed", f"{numbers.number(held['observed'])}, {inside} the interval"),
        ("error", f"{numbers.number(held['error'], 3)} ({numbers.percent(held['relative_error'], 2)})"),
        (
            "in units of noise",
            numbers.MISSING if numbers.is_missing(noises) else f"{noises:.2f} times the scatter of one run",
        ),
        ("predicted before training", "yes" if held["predicted_before_training"] else "no"),
    ]


def _plan(study: Study) -> Table | None:
    if not study.plan:
        return None
    has_arms = any(run["arm"] for run in study.plan["runs"])
    rows = [
        (
            run["name"] + (" (held out)" if run["is_largest"] else ""),
            *([_arms(run)] if has_arms else []),
            numbers.count(run["params_non_embedding"]),
            numbers.number(run["lr"], 3),
            numbers.count(run["tokens"]),
            numbers.fixed(run.get("tokens_per_parameter"), 1),
            numbers.fixed(run.get("epochs"), 2),
            numbers.number(run["flops"], 3),
        )
        for run in sorted(study.plan["runs"], key=lambda run: (run["params_non_embedding"], run["seed"]))
    ]
    head = (
        "run", *(["arms"] if has_arms else []), "non-embedding", "peak lr", "tokens", "tokens per parameter",
        "passes over the data", "FLOPs",
    )  # fmt: skip
    formula = study.plan.get("flops_formula")
    caption = f"FLOPs by {formula}; tokens per non-embedding parameter." if formula else ""
    return Table(head=head, rows=rows, caption=caption, labels=2 if has_arms else 1)


def _arms(run: Mapping[str, Any]) -> str:
    trunk = " (trunk, no result)" if run.get("is_trunk") else ""
    return ", ".join([run["arm"], *run.get("also", ())]) + trunk
