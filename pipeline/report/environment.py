"""Where it ran: machine, versions, and what each stage took of time and memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.report import numbers
from pipeline.report.section import Section, Table
from pipeline.report.sources import Sources

NAME, TITLE = "environment", "Environment"
FILE = "environment.json"


def section(sources: Sources) -> Section:
    """Return the section: from the quickstart's own record, or else from what the first run wrote down.

    Nothing where there is neither, but in a quickstart, which has its own.
    """
    found = sources.extra(FILE)
    recorded = found if found else _from_attempts(sources)
    if not recorded and sources.kind != "quickstart":
        return Section(name=NAME, title=TITLE)
    if not recorded:
        remedy = (
            f"no {FILE} and no run's attempts/ here; `loglinear quickstart` or `loglinear train` writes it"
        )
        return Section(name=NAME, title=TITLE, remedy=remedy)
    values = {
        "machine": _facts(recorded.get("machine")),
        "versions": _facts(recorded.get("versions")),
        "stages": _stages(recorded),
    }
    return Section(name=NAME, title=TITLE, template="environment.html.j2", values=values)


def _from_attempts(sources: Sources) -> dict[str, Any]:
    attempts = sources.runs[0].run.attempts() if sources.runs else []
    if not attempts:
        return {}
    return {"machine": attempts[-1].get("hardware"), "versions": attempts[-1].get("versions")}


def _facts(values: Any) -> list[tuple[str, str]]:
    """Return names and values, with units spelled out."""
    if not isinstance(values, Mapping):
        return []
    return [_fact(str(name), value) for name, value in values.items()]


def _fact(name: str, value: Any) -> tuple[str, str]:
    if numbers.is_missing(value):
        return name.replace("_", " "), numbers.MISSING
    if name.endswith("_bytes"):
        return name.removesuffix("_bytes").replace("_", " "), numbers.size(value)
    if name.endswith("_seconds"):
        return name.removesuffix("_seconds").replace("_", " "), numbers.duration(value)
    if isinstance(value, list):
        return name.replace("_", " "), ", ".join(map(str, value)) or "none"
    return name.replace("_", " "), str(value)


def _stages(recorded: Mapping[str, Any]) -> Table | None:
    stages = recorded.get("stages")
    if not stages:
        return None
    rows = [
        (stage["name"], numbers.duration(stage.get("seconds")), numbers.size(stage.get("peak_memory_bytes")))
        for stage in stages
    ]
    if "total_seconds" in recorded:
        peaks = [stage["peak_memory_bytes"] for stage in stages if stage.get("peak_memory_bytes")]
        peak = numbers.size(max(peaks, default=None))
        rows.append(("all", numbers.duration(recorded["total_seconds"]), peak))
    return Table(head=("stage", "time", "peak memory"), rows=rows)
