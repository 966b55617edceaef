"""Whether two engines take the same steps: the same run alone and under DeepSpeed on two processes."""

from __future__ import annotations

from typing import Any

from pipeline.report import numbers
from pipeline.report.section import Section, Table
from pipeline.report.sources import Sources

NAME, TITLE = "parity", "Two engines, the same losses"
FILE = "parity.json"
SERIES = {"single": "single process", "deepspeed_zero2_2_processes": "DeepSpeed ZeRO-2, two processes"}


def section(sources: Sources) -> Section:
    """Return the section, or how to make the file it needs."""
    found = sources.extra(FILE)
    if not found:
        remedy = (
            f"no {FILE} here; `loglinear quickstart` trains the same steps under both engines and writes it"
        )
        return Section(name=NAME, title=TITLE, remedy=remedy)
    values = {
        "steps": found.get("steps"),
        "difference": numbers.number(found.get("largest_difference"), 2),
        "table": _table(found),
    }
    return Section(name=NAME, title=TITLE, template="parity.html.j2", values=values)


def _table(found: dict[str, Any]) -> Table:
    series = {name: found[key] for key, name in SERIES.items() if key in found}
    length = max((len(losses) for losses in series.values()), default=0)
    rows = []
    for step in range(length):
        losses: list[Any] = [values[step] if step < len(values) else None for values in series.values()]
        cells = [numbers.fixed(loss, 6) for loss in losses]
        known = len(losses) == len(SERIES) and not any(map(numbers.is_missing, losses))
        difference = numbers.number(abs(float(losses[0]) - float(losses[1])), 2) if known else numbers.MISSING
        rows.append((str(step + 1), *cells, difference))
    return Table(head=("step", *series, "difference"), rows=rows)
