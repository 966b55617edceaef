"""What a figure is painted on: it draws on a pair of axes and keeps every number that it drew."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from pipeline.report import numbers
from pipeline.report.palette import INK, MUTED, PAPER, Colour

Dash = str | tuple[int, tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One drawn place, in the units of the axes: a point, a corner of a line, a reach from low to high."""

    series: str
    name: str = ""
    x: float | None = None
    y: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Canvas:
    """One pair of axes, whether it is the phone's, and what was drawn on it so far.

    Every method takes the name of its series, which stands in the legend unless `quiet`, and in the data.
    """

    axes: Any
    is_narrow: bool
    marks: list[Mark] = field(default_factory=list)

    def line(
        self, series: str, xs: Sequence[float], ys: Sequence[float], colour: Colour, *,
        dash: Dash = "-", width: float = 1.4, quiet: bool = False,
    ) -> None:  # fmt: skip
        """Draw a line through places; nothing where there are none."""
        if len(xs):
            self.axes.plot(
                xs, ys, color=colour.sentinel, linestyle=dash, linewidth=width, label=_shown(series, quiet)
            )
        self._keep(series, xs, ys)

    def points(
        self, series: str, xs: Sequence[float], ys: Sequence[float], colour: Colour, *,
        names: Sequence[str] = (), marker: str = "o", size: float = 6.5, is_filled: bool = False,
        quiet: bool = False,
    ) -> None:  # fmt: skip
        """Draw a marker at each place, open unless it is to be filled; `names` say what each one is."""
        face, edge = (colour, PAPER) if is_filled else (PAPER, colour)
        if marker in "|_x+":
            edge = colour
        if len(xs):
            self.axes.plot(
                xs, ys, linestyle="none", marker=marker, markersize=size, markeredgewidth=1.3,
                markerfacecolor=face.sentinel, markeredgecolor=edge.sentinel, label=_shown(series, quiet),
            )  # fmt: skip
        self._keep(series, xs, ys, names)

    def band(
        self, series: str, xs: Sequence[float], lows: Sequence[float], highs: Sequence[float],
        colour: Colour, *, quiet: bool = False,
    ) -> None:  # fmt: skip
        """Shade what lies between two lines."""
        self.axes.fill_between(
            xs, lows, highs, color=colour.sentinel, alpha=0.14, linewidth=0, label=_shown(series, quiet)
        )
        self.marks.extend(
            Mark(series=series, x=x, low=low, high=high) for x, low, high in zip(xs, lows, highs, strict=True)
        )

    def reach(
        self, series: str, x: float, y: float, low: Any, high: Any, colour: Colour, *, quiet: bool = False
    ) -> None:
        """Draw an upright bar from low to high, with a stroke at each end; nothing where an end is open."""
        if numbers.is_missing(low) or numbers.is_missing(high):
            low = high = None
        else:
            self.axes.plot(
                [x, x], [low, high], color=colour.sentinel, linewidth=1.2, marker="_", markersize=11,
                markeredgecolor=colour.sentinel, label=_shown(series, quiet),
            )  # fmt: skip
        self.marks.append(Mark(series=series, x=x, y=y, low=low, high=high))

    def lying(
        self, series: str, name: str, y: float, length: float, thick: float, colour: Colour, *,
        error: float | None, quiet: bool = False,
    ) -> None:  # fmt: skip
        """Draw a lying bar of what is called `name`, with its error; at y, which is no number of the data."""
        self.axes.barh(
            y, length, height=0.86 * thick, color=colour.sentinel, linewidth=0, label=_shown(series, quiet)
        )
        low, high = (None, None) if error is None else (length - error, length + error)
        if error is not None:
            self.axes.plot([low, high], [y, y], color=INK.sentinel, linewidth=1.1)
        self.marks.append(Mark(series=series, name=name, x=length, low=low, high=high))

    def level(self, series: str, y: float, *, quiet: bool = False) -> None:
        """Draw a dashed line across: a chance, a target."""
        self.axes.axhline(
            y, color=MUTED.sentinel, linewidth=1, linestyle=(0, (4, 3)), label=_shown(series, quiet)
        )
        self.marks.append(Mark(series=series, y=y))

    def upright(self, series: str, x: float, colour: Colour) -> None:
        """Draw a dotted line up and down: a best rate."""
        self.axes.axvline(x, color=colour.sentinel, linewidth=0.9, linestyle=(0, (2, 2)))
        self.marks.append(Mark(series=series, x=x))

    def legend(self) -> None:
        """Put the legend above the axes, where it hides nothing; nothing where no series has a name."""
        _, names = self.axes.get_legend_handles_labels()
        if names:
            characters, size = (56, 9.5) if self.is_narrow else (108, 11)
            columns = max(1, characters // (max(map(len, names)) + 6))
            self.axes.legend(
                loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=min(columns, len(names)), fontsize=size,
                handlelength=1.6, borderaxespad=0.3, columnspacing=1.4,
            )  # fmt: skip

    def log_counts(self, axis: str, low: float, high: float) -> None:
        """Make an axis logarithmic with counts as people write them: 20k, 100k, 1M."""
        self._log(axis, low, high, numbers.short)

    def log_powers(self, axis: str, low: float, high: float) -> None:
        """Make an axis logarithmic with powers of ten, as FLOPs are written."""
        self._log(axis, low, high, numbers.power_of_ten)

    def _log(self, axis: str, low: float, high: float, write: Callable[[Any], str]) -> None:
        scale, limits, side = (
            (self.axes.set_xscale, self.axes.set_xlim, self.axes.xaxis)
            if axis == "x"
            else (self.axes.set_yscale, self.axes.set_ylim, self.axes.yaxis)
        )
        scale("log")
        limits(low, high)
        side.set_ticks(plain_ticks(low, high, 4 if self.is_narrow else 8))
        side.set_minor_locator(_no_ticks())
        side.set_major_formatter(lambda value, _: write(value))

    def _keep(self, series: str, xs: Sequence[float], ys: Sequence[float], names: Sequence[str] = ()) -> None:
        called = names or [""] * len(xs)
        self.marks.extend(
            Mark(series=series, name=name, x=float(x), y=float(y))
            for x, y, name in zip(xs, ys, called, strict=True)
        )


def table(marks: Sequence[Mark]) -> str:
    """Return what was drawn as CSV: a row for each place, empty where a series has no such number."""
    text = io.StringIO()
    columns = [each.name for each in fields(Mark)]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for mark in marks:
        writer.writerow([_cell(getattr(mark, column)) for column in columns])
    return text.getvalue()


def plain_ticks(low: float, high: float, most: int) -> list[float]:
    """Return at most `most` round numbers between two positive ones, evenly spread over their logarithms."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for steps in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [float(f"{step}e{decade}") for decade in range(first, last + 1) for step in steps]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) <= most:
            return inside
    return inside[:: -(-len(inside) // most)]


def _shown(series: str, quiet: bool) -> str | None:
    return None if quiet else series


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else repr(float(value))


def _no_ticks() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()
