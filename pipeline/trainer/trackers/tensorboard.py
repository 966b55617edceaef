"""TensorBoard event files in the run directory, under tensorboard/.

An event file only grows. What was written of steps that a restart or a rollback takes again is hidden by the
next file, which begins with the step from which on older ones no longer count.
"""

from __future__ import annotations

from typing import Any

from pipeline.config import Schema
from pipeline.errors import StageError
from pipeline.trainer.tracker import SAMPLE, Row, Tracked, numbers


class Config(Schema):
    """Nothing to choose; needs the `tensorboard` extra."""

    def build(self, run: Tracked) -> TensorBoard:
        """Open a new event file; what earlier attempts wrote beyond the first step is hidden."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise StageError(
                "trackers: tensorboard is not installed; pip install 'loglinear[tensorboard]'"
            ) from None
        folder = str(run.directory / "tensorboard")
        return TensorBoard(SummaryWriter(folder, purge_step=run.first_step + 1))  # type: ignore[no-untyped-call]


class TensorBoard:
    """Rows as scalars at their step, samples as text."""

    def __init__(self, writer: Any):
        self._writer = writer

    def log(self, row: Row) -> None:
        """Write the numbers of a row, or a sample."""
        step = row["step"]
        if row.get("event") == SAMPLE:
            self._writer.add_text(f"sample/{row['number']}", _as_code(row["prompt"] + row["text"]), step)
            return
        for name, value in numbers(row).items():
            self._writer.add_scalar(name, value, step)

    def close(self, finished: bool) -> None:  # noqa: ARG002 - an event file has no state to end with
        """Flush and close the file."""
        self._writer.close()


def _as_code(text: str) -> str:
    """Return a text in Markdown that shows it as it is: every line indented."""
    return "\n".join(f"    {line}" for line in text.splitlines())
