"""The learning-rate rule and the sweep that supports it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report import numbers
from pipeline.report.evaluation import words
from pipeline.report.figure import Canvas, Figure, draw
from pipeline.report.palette import INK, PAPER, ranked
from pipeline.report.section import Section, Table
from pipeline.report.sources import Sources

NAME, TITLE = "rates", "Learning rates"


def section(sources: Sources) -> Section:
    """Return the section, or how to make the sweep it needs."""
    rule = sources.study.identity.get("learning_rate") if sources.study else None
    verdict = sources.sweep.verdict if sources.sweep else None
    if not rule and not verdict:
        remedy = (
            "no sweep of learning rates here; `loglinear study` with `arms` in its configuration makes one"
        )
        return Section(name=NAME, title=TITLE, remedy=remedy)
    values = {
        "rule": rule_words(rule) if rule else "",
        "figure": _figure(verdict["widths"], verdict["metric"]) if verdict else None,
        "table": _table(verdict["widths"]) if verdict else None,
        "summary": verdict.get("summary", []) if verdict else [],
    }
    return Section(name=NAME, title=TITLE, template="rates.html.j2", values=values)


def rule_words(rule: Mapping[str, Any]) -> str:
    """Return the rule by which a study sets the peak learning rate of a width."""
    base, exponent = numbers.number(rule["base"], 3), numbers.number(float(rule["exponent"]), 3)
    return f"{base} · (width / {rule['base_width']})^({exponent})"


def _table(widths: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        (
            str(one["rung"]),
            numbers.count(one["width"]),
            ", ".join(f"{numbers.number(rate, 3)}: {numbers.fixed(mean)}" for rate, mean in _pairs(one)),
            numbers.number(one["best"], 3) + (" (edge of the grid)" if one["at_edge"] else ""),
        )
        for one in widths
    ]
    return Table(head=("size", "width", "rate: score, mean of seeds", "best rate"), rows=rows)


def _figure(widths: Sequence[Mapping[str, Any]], metric: str) -> Figure:
    def paint(canvas: Canvas) -> None:
        axes = canvas.axes
        for one, colour in zip(widths, ranked(len(widths)), strict=True):
            pairs = [(rate, mean) for rate, mean in _pairs(one) if not numbers.is_missing(mean)]
            axes.plot(
                [rate for rate, _ in pairs], [mean for _, mean in pairs], marker="o", markersize=5,
                linewidth=1.3, color=colour.sentinel, markeredgecolor=PAPER.sentinel,
                label=f"width {one['width']}",
            )  # fmt: skip
            axes.axvline(one["best"], color=colour.sentinel, linewidth=0.9, linestyle=(0, (2, 2)))
        rates = [rate for one in widths for rate in one["rates"]]
        canvas.log_counts("x", min(rates) / 1.3, max(rates) * 1.3)
        axes.set_xlabel("peak learning rate, logarithmic")
        axes.set_ylabel(words(metric))
        axes.legend(loc="best", labelcolor=INK.sentinel)

    said = "; ".join(f"width {one['width']}: best rate {numbers.number(one['best'], 3)}" for one in widths)
    return draw(
        "rates",
        paint,
        title="Score against learning rate",
        description=said,
        caption="Score against peak learning rate for each width; dotted lines mark the best rates.",
        heights=(340, 300),
    )


def _pairs(one: Mapping[str, Any]) -> list[tuple[float, float]]:
    return list(zip(one["rates"], one["means"], strict=True))
