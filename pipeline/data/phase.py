"""What a phase is given to work with, whichever phase it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.data.execute import ExecuteConfig, Step


@dataclass(frozen=True, kw_only=True)
class PhaseRun:
    """One phase at work; `work` belongs to its identity and input, so nothing stale is ever read."""

    name: str
    dataset: Path
    source: Path
    work: Path
    execute: ExecuteConfig

    @property
    def kept(self) -> Path:
        """Return where the phase leaves its documents."""
        return self.dataset / "kept" / self.name

    @property
    def dropped(self) -> Path:
        """Return where the phase leaves what it drops, a folder for each reason."""
        return self.dataset / "dropped" / self.name

    @property
    def counts(self) -> Path:
        """Return where the tasks of the phase leave their accounts."""
        return self.work / "counts"

    def run_tasks(self, steps: Sequence[Step], tasks: int, part: str = "") -> None:
        """Run a pipeline over the tasks; `part` tells the passes of one phase apart."""
        from pipeline.data.execute import run_tasks

        name = f"{self.name} ({part})" if part else self.name
        run_tasks(steps, tasks, self.work / f"tasks-{part}".rstrip("-"), self.execute, name)
