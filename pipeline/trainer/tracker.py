"""Where metrics go while a run trains: `log(row)` and `close()`; metrics.jsonl always, others in addition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Row = Mapping[str, Any]
SAMPLE = "sample"  # the event of a row that has a `prompt`, the `text` drawn after it, and their `number`


@dataclass(frozen=True)
class Tracked:
    """The run that a tracker follows.

    `tracking_id` stays the same for the run's whole life; `first_step` is the one that rows start after;
    `last_step` is the last that rows were ever written of, so steps up to it come a second time;
    `append` adds a row to metrics.jsonl.
    """

    directory: Path
    name: str
    tracking_id: str
    first_step: int
    last_step: int
    settings: Mapping[str, Any]
    append: Callable[[Row], None]


class Tracker(Protocol):
    """One place where metrics go."""

    def log(self, row: Row) -> None:
        """Take a row of metrics or an event; both have a `step`, an event's may lie before the last row's."""

    def close(self, finished: bool) -> None:
        """Take the end of this attempt; not finished means that another will go on."""


class TrackerConfig(Protocol):
    """The `Config` of a module in `trackers/`."""

    def build(self, run: Tracked) -> Tracker:
        """Return the tracker."""


def numbers(row: Row) -> dict[str, float]:
    """Return the numbers of a row but its step, which charts can show; those of an event under its name."""
    event = f"{row['event']}/" if "event" in row else ""
    return {
        f"{event}{name}": value
        for name, value in row.items()
        if name != "step" and isinstance(value, int | float) and not isinstance(value, bool)
    }
