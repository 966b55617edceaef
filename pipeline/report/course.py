"""How a training went: its time, its restarts, the steps it skipped and the times it was rolled back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.report import numbers
from pipeline.report.sources import Trained

SKIPPED, ROLLED_BACK, RESUMED = "skipped step", "rollback", "resumed"


def places(rows: Sequence[dict[str, Any]], event: str) -> list[float]:
    """Return the tokens that had been seen at each event of a kind; its row tells the step alone."""
    per_step = next((row["tokens"] / row["step"] for row in rows if row.get("tokens")), 0)
    return [row["step"] * per_step for row in rows if row.get("event") == event and row["step"] > 0]


def facts(trained: Trained) -> list[tuple[str, str]]:
    """Return what the rows say, as names and values; what happened never is left out."""
    rows = trained.run.rows()
    everything = [*rows, *trained.run.rewound_rows()]
    timed = [row for row in rows if "goodput" in row]
    last = timed[-1] if timed else {}
    counts = {
        "restarts": sum(row.get("event") == RESUMED for row in everything),
        "skipped steps": sum(row.get("event") == SKIPPED for row in everything),
        "rollbacks": sum(row.get("event") == ROLLED_BACK for row in everything),
    }
    found = [
        ("time", numbers.duration(last.get("elapsed_seconds"))),
        ("goodput", numbers.percent(last.get("goodput"))),
        ("waiting for data", numbers.percent(_waiting(timed))),
        ("MFU, median", numbers.percent(_middle([row.get("mfu") for row in timed]))),
        *((name, numbers.count(count)) for name, count in counts.items() if count),
    ]
    return [(name, value) for name, value in found if value != numbers.MISSING]


def _waiting(timed: Sequence[dict[str, Any]]) -> float | None:
    """Return the share of the steps' time that went by until their data was there."""
    seconds = sum(row["step_seconds"] for row in timed)
    return sum(row["data_seconds"] for row in timed) / seconds if seconds else None


def _middle(values: Sequence[Any]) -> float | None:
    known = sorted(value for value in values if not numbers.is_missing(value))
    return known[len(known) // 2] if known else None
