"""What it would take to reach a target, by each law: an extrapolation, so with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.report import numbers
from pipeline.report.evaluation import words
from pipeline.report.section import Note, Section, Table
from pipeline.report.sources import Sources

NAME, TITLE = "reach", "What a target would take"
HEAD = (
    "arm", "law", "parameters", "tokens", "training FLOPs", "95 % interval", "times the largest measured",
)  # fmt: skip
DEAREST = "all, compute spent best"


def section(sources: Sources) -> Section:
    """Return the section; none where the study names no target."""
    target = sources.study.found("target") if sources.study else None
    if not target:
        return Section(name=NAME, title=TITLE)
    table = Table(head=HEAD, labels=2, rows=[_row(need) for need in target["needed"]])
    said = f"The target is {numbers.number(target['value'])} {words(target['metric'])}."
    told = "Laws that agree on what was measured may part by orders of magnitude beyond it."
    return Section(name=NAME, title=TITLE, blocks=[said, table, Note(told)])


def _row(need: Mapping[str, Any]) -> tuple[str, ...]:
    arm = DEAREST if need["arm"] is None else str(need["arm"])
    named = (arm if need["rung"] is None else f"{arm}, {need['rung']}", need["form"])
    if need["x"] is None:
        return (*named, "never", "never", "never", "", "")
    what = "tokens" if need["abscissa"] == "tokens" else "parameters"
    low, high = ("unbounded" if end is None else numbers.short(end) for end in (need["low"], need["high"]))
    known = need["low"] is not None or need["high"] is not None
    return (
        *named,
        numbers.short(need["params"]),
        numbers.short(need["tokens"]),
        numbers.number(need["flops"], 3),
        f"{low} to {high} {what}" if known else numbers.MISSING,
        "within" if need["reached"] else numbers.number(need["beyond"], 3),
    )
