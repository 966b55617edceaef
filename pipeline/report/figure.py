"""Figures as inline SVG: text stays text, colours follow the page, the same input gives the same bytes.

Each figure is drawn twice, for a wide page and for a phone, because a drawing scaled to a phone cannot be
read; the style sheet shows one of the two.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from pipeline.report import numbers
from pipeline.report.palette import COLOURS, INK, MUTED, RULE

WIDE, NARROW = 760, 350  # pixels
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "loglinear",
    "font.family": "DejaVu Sans",  # measured with; shown in the page's own
    "font.size": 12,
    "axes.facecolor": "none",
    "axes.edgecolor": MUTED.sentinel,
    "axes.labelcolor": MUTED.sentinel,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": RULE.sentinel,
    "grid.linewidth": 0.6,
    "text.color": INK.sentinel,
    "xtick.color": MUTED.sentinel,
    "ytick.color": MUTED.sentinel,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.frameon": False,
    "legend.fontsize": 11,
    "lines.markersize": 4,
}
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A drawing with its words; `title` and `description` are for those who do not see it."""

    name: str
    title: str
    description: str
    caption: str
    wide: Markup
    narrow: Markup


@dataclass(frozen=True)
class Canvas:
    """What a figure is painted on: one pair of axes, and whether it is the phone's."""

    axes: Any
    is_narrow: bool

    def log_counts(self, axis: str, low: float, high: float) -> None:
        """Make an axis logarithmic with counts as people write them: 20k, 100k, 1M."""
        scale, limits, side = (
            (self.axes.set_xscale, self.axes.set_xlim, self.axes.xaxis)
            if axis == "x"
            else (self.axes.set_yscale, self.axes.set_ylim, self.axes.yaxis)
        )
        scale("log")
        limits(low, high)
        side.set_ticks(plain_ticks(low, high, 4 if self.is_narrow else 8))
        side.set_minor_locator(_no_ticks())
        side.set_major_formatter(lambda value, _: numbers.short(value))


def plain_ticks(low: float, high: float, most: int) -> list[float]:
    """Return at most `most` round numbers between two positive ones, evenly spread over their logarithms."""
    decades = range(-12, 16)
    for steps in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [float(f"{step}e{decade}") for decade in decades for step in steps]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) <= most:
            return inside
    return inside[:: -(-len(inside) // most)]


def draw(
    name: str,
    paint: Callable[[Canvas], None],
    *,
    title: str,
    description: str,
    caption: str,
    heights: tuple[int, int] = (400, 320),
) -> Figure:
    """Paint a figure at both widths; `name` must be unique on the page, `heights` are in pixels."""
    wide, narrow = (
        _svg(f"{name}-{kind}", paint, kind == "narrow", (width, height), title, description)
        for kind, width, height in (("wide", WIDE, heights[0]), ("narrow", NARROW, heights[1]))
    )
    return Figure(name=name, title=title, description=description, caption=caption, wide=wide, narrow=narrow)


def label_ends(axes: Any, ends: Sequence[tuple[float, float, str, str]], gap: float) -> None:
    """Write labels (x, y, text, colour) to the right of points, at least `gap` of the axis height apart."""
    low, high = axes.get_ylim()
    ordered = sorted(ends, key=lambda end: end[1])
    places = spread_apart([y for _, y, _, _ in ordered], gap * (high - low))
    for (x, _, text, colour), place in zip(ordered, places, strict=True):
        axes.annotate(
            text, (x, place), xytext=(6, 0), textcoords="offset points", va="center", color=colour,
            fontsize=11, annotation_clip=False,
        )  # fmt: skip


def spread_apart(values: Sequence[float], gap: float) -> list[float]:
    """Return places for ascending values, at least `gap` apart; crowds are spread about their middle."""
    crowds: list[list[float]] = []  # of neighbours; each crowd is spread about its mean
    for value in values:
        crowds.append([value])
        while len(crowds) > 1 and _edge(crowds[-1], gap, -1) - _edge(crowds[-2], gap, 1) < gap:
            crowds[-2:] = [crowds[-2] + crowds[-1]]
    return [_edge(crowd, gap, -1) + n * gap for crowd in crowds for n in range(len(crowd))]


def _edge(crowd: Sequence[float], gap: float, side: int) -> float:
    return sum(crowd) / len(crowd) + side * gap * (len(crowd) - 1) / 2


def _svg(
    name: str,
    paint: Callable[[Canvas], None],
    is_narrow: bool,
    pixels: tuple[int, int],
    title: str,
    description: str,
) -> Markup:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Drawing

    file = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        inches = (pixels[0] / 72, pixels[1] / 72)
        drawing = Drawing(figsize=inches, dpi=72, layout="constrained", facecolor="none")
        axes = drawing.add_subplot()
        paint(Canvas(axes, is_narrow))
        FigureCanvasSVG(drawing).print_svg(
            file, metadata=_NO_METADATA
        )  # `savefig` would draw everything twice
    return _inline(file.getvalue().decode(), name, pixels, title, description)


def _inline(text: str, name: str, pixels: tuple[int, int], title: str, description: str) -> Markup:
    """Return matplotlib's SVG as part of a page: ids unique, colours and fonts left to the style sheet."""
    body = text[text.index(">", text.index("<svg")) + 1 : text.rindex("</svg>")]
    body = re.sub(
        r"<defs>\s*<style.*?</style>\s*</defs>|<metadata>.*?</metadata>|<!--.*?-->", "", body, flags=re.S
    )
    body = re.sub(r' id="([^"]+)"', rf' id="{name}-\1"', body)
    body = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{name}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", body)
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    for colour in COLOURS:
        body = body.replace(colour.sentinel, colour.variable)
    body = re.sub(r"\n\s*", "\n", body).strip()
    head = (
        f'<svg role="img" viewBox="0 0 {pixels[0]} {pixels[1]}" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>'
    )
    return Markup(head + body + "</svg>")  # noqa: S704 - drawn here; matplotlib escapes the texts in it


def _no_ticks() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()
