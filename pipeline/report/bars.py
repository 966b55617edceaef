"""Counts as bars: upright for ranges that have an order, lying for names."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.report import numbers
from pipeline.report.canvas import Canvas
from pipeline.report.figure import Figure, draw
from pipeline.report.palette import BAR, INK, MUTED

MOST_NAMES, MOST_CHARACTERS = 15, 44


def upright(name: str, counts: Mapping[str, int], *, title: str, caption: str, label: str) -> Figure:
    """Draw a bar for each range, in the order given."""
    labels, heights = list(counts), list(counts.values())

    def paint(canvas: Canvas) -> None:
        axes, places = canvas.axes, range(len(labels))
        axes.bar(places, heights, width=0.56, color=BAR.sentinel, linewidth=0)
        small = canvas.is_narrow and len(labels) > 6
        for place, height in zip(places, heights, strict=True):
            text = numbers.short(height) if small else numbers.count(height)
            axes.annotate(
                text, (place, height), xytext=(0, 3), textcoords="offset points", ha="center",
                color=INK.sentinel, fontsize=8.5 if small else 11,
            )  # fmt: skip
        axes.set_xticks(places, labels, rotation=50 if small else 0, ha="right" if small else "center")
        axes.set_xlabel(label)
        axes.set_yticks([])
        axes.tick_params(length=0)
        axes.grid(False)
        axes.spines["left"].set_visible(False)

    said = ", ".join(f"{label} {key}: {number}" for key, number in counts.items())
    return draw(name, paint, title=title, description=said, caption=caption, heights=(210, 230))


def across(name: str, counts: Mapping[str, int], *, title: str, caption: str) -> Figure | None:
    """Draw a bar for each of the most frequent names, its name above it; nothing where there are none."""
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_NAMES]
    if not most:
        return None

    def paint(canvas: Canvas) -> None:
        axes, places = canvas.axes, range(len(most))
        axes.barh(places, [number for _, number in most], height=0.3, color=BAR.sentinel, linewidth=0)
        for place, (label, number) in zip(places, most, strict=True):
            axes.text(0, place - 0.26, shortened(label), va="bottom", color=MUTED.sentinel, fontsize=11)
            axes.annotate(
                numbers.count(number), (number, place), xytext=(5, 0), textcoords="offset points",
                va="center", color=INK.sentinel, fontsize=11,
            )  # fmt: skip
        axes.set_xlim(0, most[0][1] * (1.3 if canvas.is_narrow else 1.15))
        axes.set_ylim(len(most) - 0.5, -0.9)
        axes.set_axis_off()

    height = 24 + 40 * len(most)
    said = "; ".join(f"{label}: {number}" for label, number in most)
    return draw(name, paint, title=title, description=said, caption=caption, heights=(height, height))


def shortened(label: str) -> str:
    """Return a name that fits a phone."""
    return label if len(label) <= MOST_CHARACTERS else f"{label[: MOST_CHARACTERS - 1]}…"
