"""metrics.jsonl in the run directory: every run writes it, whatever other trackers it has."""

from __future__ import annotations

from pipeline.config import Schema
from pipeline.trainer.tracker import Row, Tracked


class Config(Schema):
    """Nothing to choose."""

    def build(self, run: Tracked) -> Jsonl:
        """Return the tracker."""
        return Jsonl(run)


class Jsonl:
    """Rows as lines of JSON."""

    def __init__(self, run: Tracked):
        self._append = run.append

    def log(self, row: Row) -> None:
        """Write one line."""
        self._append(row)

    def close(self, finished: bool) -> None:
        """Nothing to end: each line is written when it is logged."""
