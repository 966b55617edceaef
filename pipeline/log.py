"""Lines for people: what happens and how far it is. Results go to stdout, all of this to stderr."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Protocol

from launch.secrets import redacted

PLAIN_SECONDS = 10.0


class Progress(Protocol):
    """A piece of work that takes more than two seconds."""

    def advance(self, n: float = 1) -> None:
        """Count `n` more units as done."""

    def note(self, text: str, left: float | None = None) -> None:
        """Show a short text behind the counts, and the seconds left where more than the counts tells them."""


def configure() -> None:
    """Send the `loglinear` loggers to stderr, one line per message: time, stage, text."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line())
    root = logging.getLogger("loglinear")
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    root.propagate = False


@contextmanager
def progress(
    description: str, total: float | None = None, unit: str = "", done: int = 0
) -> Iterator[Progress]:
    """Show a bar on a terminal, otherwise a plain line every ten seconds; on stderr.

    What was `done` before counts, but says nothing of how long the rest will take.
    """
    if sys.stderr.isatty():
        with _bar(description, total, unit, done) as bar:
            yield bar
    else:
        lines = _Lines(description, total, unit, done)
        yield lines
        lines.end()


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        stage = record.name.removeprefix("loglinear.")
        level = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        text = f"{clock} {stage:<10} {level}{record.getMessage()}"
        return redacted(f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text)


class _Lines:
    """Progress where there is no terminal."""

    def __init__(self, description: str, total: float | None, unit: str, done: int):
        self._description, self._total, self._unit = description, total, unit
        self._before, self._done = done, float(done)
        self._note = ""
        self._left: float | None = None
        self._start = self._shown = time.monotonic()

    def advance(self, n: float = 1) -> None:
        self._done += n
        self._show()

    def note(self, text: str, left: float | None = None) -> None:
        self._note, self._left = text, left
        self._show()

    def end(self) -> None:
        if time.monotonic() - self._start > PLAIN_SECONDS:
            self._print()

    def _show(self) -> None:
        if time.monotonic() - self._shown >= PLAIN_SECONDS:
            self._print()

    def _print(self) -> None:
        self._shown = time.monotonic()
        seconds = self._shown - self._start
        of = f"/{self._total:,.0f}" if self._total else ""
        remaining = self._remaining(seconds)
        left = "" if remaining is None else f", {remaining:.0f} s left"
        note = f"  {self._note}" if self._note else ""
        counts = f"{self._done:,.0f}{of} {self._unit}".rstrip()
        logging.getLogger("loglinear.progress").info(
            "%s: %s in %.0f s%s%s", self._description, counts, seconds, left, note
        )

    def _remaining(self, seconds: float) -> float | None:
        """Return how many seconds are left after so many, or None if nothing says so."""
        gained = self._done - self._before
        if self._left is not None or not self._total or not gained:
            return self._left
        return seconds * (self._total - self._done) / gained


class _Bar:
    """Progress on a terminal."""

    def __init__(self, progress: Any, task: Any):
        self._progress, self._task = progress, task

    def advance(self, n: float = 1) -> None:
        self._progress.advance(self._task, n)

    def note(self, text: str, left: float | None = None) -> None:
        self._progress.update(self._task, note=text, left=left)


@contextmanager
def _bar(description: str, total: float | None, unit: str, done: int) -> Iterator[_Bar]:
    from rich.console import Console  # only a terminal needs it
    from rich.progress import BarColumn, Progress, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.text import Text

    class Left(TimeRemainingColumn):
        """The time left as the work itself knows it, or else by what is done of it."""

        def render(self, task: Task) -> Text:
            known = task.fields["left"]
            if known is None:
                return super().render(task)
            return Text(str(timedelta(seconds=round(known))), style="progress.remaining")

    counts = TextColumn(
        "{task.completed:,.0f}" + ("/{task.total:,.0f}" if total else "") + (f" {unit}" if unit else "")
    )
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        counts,
        TimeElapsedColumn(),
        Left(),
        TextColumn("{task.fields[note]}"),
    ]
    with Progress(*columns, console=Console(stderr=True)) as shown:
        yield _Bar(shown, shown.add_task(description, total=total, completed=done, note="", left=None))
