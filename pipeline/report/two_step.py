"""Accuracy predicted in two steps: bits per byte from size, then accuracy from bits per byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report import laws, numbers
from pipeline.report.canvas import Canvas
from pipeline.report.evaluation import words
from pipeline.report.figure import Figure, draw
from pipeline.report.ladder import file_name
from pipeline.report.palette import ACCENT, INK, SECOND
from pipeline.report.result import said
from pipeline.report.section import Block, Points, Section, Table
from pipeline.report.sources import Sources

NAME, TITLE = "two-step", "Accuracy in two steps"

Step = Mapping[str, Any]


def section(sources: Sources) -> Section:
    """Return the section; none where no task has both bits per byte and accuracy."""
    found = sources.study.found("two_step") if sources.study else None
    if not found:
        return Section(name=NAME, title=TITLE)
    several = len({step["arm"] for step in found}) > 1
    rows = [
        (
            words(step["accuracy_metric"]),
            *([step["arm"]] if several else []),
            numbers.number(step["bits_predicted"]),
            numbers.number(step["bits_observed"]),
            numbers.percent(step["predicted"]),
            _interval(step),
            numbers.percent(step["observed"]),
            _side(step),
        )
        for step in found
    ]
    head = (
        "metric", *(["arm"] if several else []), "bits per byte, predicted", "observed",
        "accuracy, predicted", "95 % interval, %", "observed", "",
    )  # fmt: skip
    blocks: list[Block] = [
        "A law of the smaller sizes predicts the largest's bits per byte on a task, and a sigmoid what "
        "accuracy goes with them.",
        Table(head=head, rows=rows, labels=2 if several else 1),
        *(_figure(step) for step in found if step["sigmoid"]),
    ]
    if told := _doubts(found):
        blocks.append(Points(told))
    return Section(name=NAME, title=TITLE, blocks=blocks)


def _interval(step: Step) -> str:
    if step["low"] is None or step["high"] is None:
        return numbers.MISSING
    return numbers.interval([100 * step["low"], 100 * step["high"]], 3)


def _side(step: Step) -> str:
    if step["low"] is None:
        return ""
    return "inside" if step["inside_interval"] else "outside"


def _doubts(found: Sequence[Step]) -> list[str]:
    """Return what to beware of, once for all arms that it is said of."""
    arms: dict[tuple[str, str], list[str]] = {}
    for step in found:
        for line in (said(line, step["bits_metric"]) for line in step["warnings"]):
            arms.setdefault((words(step["accuracy_metric"]), line), []).append(step["arm"])
    return [f"{_named(metric, own)}: {line}" for (metric, line), own in arms.items()]


def _named(metric: str, arms: Sequence[str]) -> str:
    return f"{metric}, {', '.join(arms)}" if any(arms) else metric


def _figure(step: Step) -> Figure:
    bits = [point["bits"] for point in step["points"]]
    at = step["bits_predicted"]

    def paint(canvas: Canvas) -> None:
        ends = [*bits, *([] if at is None else [at])]
        pad = 0.06 * (max(ends) - min(ends)) or 0.1
        grid = laws.even(min(ends) - pad, max(ends) + pad)
        if sigmoid := step["sigmoid"]:
            ys = laws.line("sigmoid", sigmoid["coefficients"], grid)
            canvas.line("sigmoid of the smaller sizes", grid, ys, INK)
        canvas.points(
            "run", bits, [point["accuracy"] for point in step["points"]], SECOND,
            names=[point["name"] for point in step["points"]],
        )  # fmt: skip
        if at is not None:
            canvas.reach(
                "predicted for the largest, 95 %", at, step["predicted"], step["low"], step["high"], ACCENT
            )
        if step["bits_observed"] is not None and step["observed"] is not None:
            canvas.points(
                "largest, observed", [step["bits_observed"]], [step["observed"]], ACCENT, marker="D",
                is_filled=True,
            )  # fmt: skip
        canvas.axes.invert_xaxis()
        canvas.axes.set_xlabel(f"{words(step['bits_metric'])}, better to the right")
        canvas.axes.set_ylabel(f"{words(step['accuracy_metric'])}, %")
        canvas.axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g}")
        canvas.legend()

    arm = f", arm {step['arm']}" if step["arm"] else ""
    seen = "as observed" if at is None else "as predicted from the smaller ones and as observed"
    return draw(
        file_name("two-step", step["accuracy_metric"], step["arm"]),
        paint,
        title=f"{words(step['accuracy_metric'])} against bits per byte{arm}",
        description=step["words"],
        caption=f"{words(step['accuracy_metric']).capitalize()}{arm}: every run, the sigmoid through those "
        f"below the largest, and the largest {seen}.",
        heights=(360, 350),
    )
