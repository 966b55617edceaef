"""Figures as SVG: text stays text, the same input gives the same bytes.

Inside the page colours follow the page, and each figure is drawn twice, for a wide page and for a phone,
because a drawing scaled to a phone cannot be read; the style sheet shows one of the two. The wide one is a
file of its own too, in colours that stand on light and on dark paper, with its numbers as CSV.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from markupsafe import Markup, escape

from pipeline.report.canvas import Canvas, Mark, table
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
_FONTS = "system-ui, 'Segoe UI', 'Helvetica Neue', 'Noto Sans', Arial, 'DejaVu Sans', sans-serif"
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
    alone: str  # a whole SVG file
    data: str  # a whole CSV file: every number drawn
    kind: ClassVar[str] = "figure"


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
    drawn, marks = _svg(paint, (WIDE, heights[0]), is_narrow=False)
    small, _ = _svg(paint, (NARROW, heights[1]), is_narrow=True)
    words = title, description
    return Figure(
        name=name,
        title=title,
        description=description,
        caption=caption,
        wide=_inline(drawn, f"{name}-wide", (WIDE, heights[0]), *words),
        narrow=_inline(small, f"{name}-narrow", (NARROW, heights[1]), *words),
        alone=_alone(drawn, (WIDE, heights[0]), *words),
        data=table(marks),
    )


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
    paint: Callable[[Canvas], None], pixels: tuple[int, int], *, is_narrow: bool
) -> tuple[str, list[Mark]]:
    """Return matplotlib's SVG, and every number that was drawn."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Drawing

    file = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        inches = (pixels[0] / 72, pixels[1] / 72)
        drawing = Drawing(figsize=inches, dpi=72, layout="constrained", facecolor="none")
        canvas = Canvas(drawing.add_subplot(), is_narrow)
        paint(canvas)
        FigureCanvasSVG(drawing).print_svg(
            file, metadata=_NO_METADATA
        )  # `savefig` would draw everything twice
    return file.getvalue().decode(), canvas.marks


def _inline(text: str, name: str, pixels: tuple[int, int], title: str, description: str) -> Markup:
    """Return matplotlib's SVG as part of a page: ids unique, colours and fonts left to the style sheet."""
    body = _body(text)
    body = re.sub(r' id="([^"]+)"', rf' id="{name}-\1"', body)
    body = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{name}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", body)
    for colour in COLOURS:
        body = body.replace(colour.sentinel, colour.variable)
    head = (
        f'<svg role="img" viewBox="0 0 {pixels[0]} {pixels[1]}" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>'
    )
    return Markup(head + body + "</svg>")  # noqa: S704 - drawn here; matplotlib escapes the texts in it


def _alone(text: str, pixels: tuple[int, int], title: str, description: str) -> str:
    """Return matplotlib's SVG as a file of its own, for light paper and dark, on a screen or printed."""
    body = _body(text)
    for colour in COLOURS:
        body = body.replace(colour.sentinel, colour.both)
    width, height = pixels
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'width="{width}" height="{height}" viewBox="0 0 {width} {height}" font-family="{_FONTS}">\n'
        f"<title>{escape(title)}</title>\n<desc>{escape(description)}</desc>\n{body}\n</svg>\n"
    )


def _body(text: str) -> str:
    """Return what stands inside matplotlib's SVG, without its own style, fonts and comments."""
    body = text[text.index(">", text.index("<svg")) + 1 : text.rindex("</svg>")]
    body = re.sub(
        r"<defs>\s*<style.*?</style>\s*</defs>|<metadata>.*?</metadata>|<!--.*?-->", "", body, flags=re.S
    )
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    return re.sub(r"\n\s*", "\n", body).strip()
