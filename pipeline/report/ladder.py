"""A ladder of sizes in one figure: the runs, the law of the smaller ones, its interval and the largest."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.report import laws, numbers
from pipeline.report.canvas import Canvas
from pipeline.report.evaluation import words
from pipeline.report.figure import Figure, draw
from pipeline.report.palette import ACCENT, INK, SECOND
from pipeline.report.studied import Study

ABSCISSAE = {
    "params_non_embedding": "non-embedding parameters",
    "params": "parameters",
    "flops": "training FLOPs",
    "tokens": "training tokens",
}
BEYOND = (0, (5, 3))  # dashes of a law beyond the points that it was fitted to
RUN, LARGEST = "run, fitted", "run of the largest, held out"


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """The measured points (x, value, run) of an arm, below its largest size and of its largest size."""

    metric: str
    abscissa: str
    below: Sequence[tuple[float, float, str]]
    largest: Sequence[tuple[float, float, str]]

    @property
    def all(self) -> list[tuple[float, float, str]]:
        """Return all points."""
        return [*self.below, *self.largest]

    @property
    def xs(self) -> list[float]:
        """Return the sizes of all points."""
        return [x for x, _, _ in self.all]


def ladder_of(study: Study, arm: Mapping[str, Any] | None = None) -> Ladder | None:
    """Return the points of the study's own metric in an arm, the main one unless another is given.

    None before it is known which metric.
    """
    decided = arm or study.choice or study.verdict or {}
    metric = decided.get("metric") or study.identity.get("metric")
    if not metric:
        return None
    abscissa = decided.get("abscissa") or study.identity.get("abscissa") or "params_non_embedding"
    name = study.main if arm is None else str(arm["name"])
    rows = [
        (float(row[abscissa]), float(row["value"]), str(row["name"]))
        for row in study.rows(metric, name)
        if row.get(abscissa) is not None
    ]
    most = _size_of_largest(study, abscissa, name, study.choice if arm is None else study.choice_of(arm))
    return Ladder(
        metric=metric,
        abscissa=abscissa,
        below=[row for row in rows if most is None or row[0] < most],
        largest=[row for row in rows if most is not None and row[0] >= most],
    )


def law_figure(ladder: Ladder, choice: Mapping[str, Any], *, arm: str = "") -> Figure:
    """Draw the points, the law chosen without the largest size, and the largest size."""

    def paint(canvas: Canvas) -> None:
        xs = ladder.xs + ([choice["prediction"]["x"]] if choice else [])
        canvas.log_counts("x", min(xs) / 1.25, max(xs) * 1.35)
        canvas.axes.set_xlabel(f"{abscissa_words(ladder.abscissa)}, logarithmic")
        canvas.axes.set_ylabel(words(ladder.metric))
        if choice:
            _law(canvas, ladder, choice)
        _points(canvas, ladder)
        canvas.legend()

    unit = words(ladder.metric)
    points = ", ".join(f"{numbers.short(x)}: {numbers.fixed(value)}" for x, value, _ in sorted(ladder.all))
    return draw(
        file_name("value-by-size", arm),
        paint,
        title=f"{unit} against {abscissa_words(ladder.abscissa)}" + (f", arm {arm}" if arm else ""),
        description=f"One point per run, {points}. {_prediction_words(choice)}",
        caption=_caption(ladder, choice),
        heights=(460, 390),
    )


def file_name(*parts: str) -> str:
    """Return a figure's name, which is an id of the page and a name of files, from words and data."""
    return "-".join(re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") for part in parts if part)


def abscissa_words(abscissa: str) -> str:
    """Return what an abscissa is called."""
    return ABSCISSAE.get(abscissa, abscissa.replace("_", " "))


def _law(canvas: Canvas, ladder: Ladder, choice: Mapping[str, Any]) -> None:
    """Draw the law: solid where points support it, dashed beyond them, with its interval."""
    form, coefficients = choice["chosen"], choice["fit"]["coefficients"]
    sizes = [x for x, _, _ in ladder.below]
    target = choice["prediction"]
    inside = laws.spaced(min(sizes), max(sizes))
    beyond = laws.spaced(max(sizes), max(target["x"], max(sizes) * 1.0001) * 1.1)
    named = f"{form} law of the sizes below the largest"
    if ys := laws.line(form, coefficients, inside):
        canvas.line(named, inside, ys, INK)
        canvas.line(f"{form} law, extended", beyond, laws.line(form, coefficients, beyond), INK, dash=BEYOND,
                    quiet=True)  # fmt: skip
    if curve := choice.get("curve"):
        canvas.band("95 % interval of a new run", curve["x"], curve["low"], curve["high"], SECOND)
    canvas.reach(
        "predicted for the largest, 95 %", target["x"], target["value"], target["low"], target["high"], ACCENT
    )


def _points(canvas: Canvas, ladder: Ladder) -> None:
    for series, rows, colour, marker in (
        (RUN, ladder.below, SECOND, "o"),
        (LARGEST, ladder.largest, ACCENT, "D"),
    ):
        xs, ys, names = zip(*rows, strict=True) if rows else ((), (), ())
        canvas.points(series, xs, ys, colour, names=names, marker=marker, size=7, is_filled=marker == "D")


def _caption(ladder: Ladder, choice: Mapping[str, Any]) -> str:
    said = f"{words(ladder.metric).capitalize()} of every run against its {abscissa_words(ladder.abscissa)}."
    if not choice:
        return f"{said} No law has been chosen yet."
    law = f" The line is the {choice['chosen']} law fitted to the open circles, dashed where it is extended"
    band = "; the band is its 95 % interval for a new run." if choice.get("curve") else "."
    bar = (
        " The bar is what it predicts for a run of the largest size, the diamond what that size then scored."
    )
    return said + law + band + (bar if ladder.largest else " The largest size has not been measured yet.")


def _prediction_words(choice: Mapping[str, Any]) -> str:
    if not choice:
        return "No law has been chosen yet."
    found = choice["prediction"]
    ends = numbers.interval((found["low"], found["high"]))
    value = numbers.number(found["value"])
    return f"The {choice['chosen']} law predicts {value} for the largest, 95 % interval {ends}."


def _size_of_largest(study: Study, abscissa: str, arm: str, choice: Any) -> float | None:
    """Return the size that was held back, by the plan; by the prediction where there is no plan."""
    if study.plan:
        names = study.runs_of(arm)
        held = [
            run[abscissa]
            for run in study.plan["runs"]
            if run["is_largest"] and abscissa in run and (names is None or run["name"] in names)
        ]
        return float(min(held)) if held else None
    return float(choice["prediction"]["x"]) if choice else None
