"""The main result: score against size, the law, its interval, the point it had not seen, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.report import laws, numbers
from pipeline.report.evaluation import words
from pipeline.report.figure import Canvas, Figure, draw
from pipeline.report.palette import ACCENT, INK, PAPER, SECOND
from pipeline.report.section import Section, Table
from pipeline.report.sources import Sources, Study

NAME, TITLE = "result", "Result"
ABSCISSAE = {
    "params_non_embedding": "non-embedding parameters",
    "params": "parameters",
    "flops": "training FLOPs",
    "tokens": "training tokens",
}


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """The measured points (x, value) of a study, below its largest size and of its largest size."""

    metric: str
    abscissa: str
    below: Sequence[tuple[float, float]]
    largest: Sequence[tuple[float, float]]

    @property
    def all(self) -> list[tuple[float, float]]:
        """Return all points."""
        return [*self.below, *self.largest]


def section(sources: Sources) -> Section:
    """Return the section, or how to carry out the study it needs."""
    study = sources.study
    ladder = ladder_of(study) if study else None
    if not study or not ladder or not ladder.below:
        remedy = (
            "no measured points of a study here; `loglinear study CONFIG` makes them, from where it stands"
        )
        return Section(name=NAME, title=TITLE, remedy=remedy)
    verdict = study.verdict or {}
    values = {
        "figure": main_figure(study, ladder),
        "summary": [line.replace(ladder.metric, words(ladder.metric)) for line in verdict.get("summary", [])],
        "passed": verdict.get("passed"),
        "criteria": [_criterion(criterion) for criterion in verdict.get("criteria", [])],
        "rungs": _rungs(verdict),
        "directory": str(study.directory),
    }
    return Section(name=NAME, title=TITLE, template="result.html.j2", values=values)


def ladder_of(study: Study) -> Ladder | None:
    """Return the points of the study's own metric; None before it is known which."""
    decided = study.choice or study.verdict or {}
    metric = decided.get("metric") or study.identity.get("metric")
    if not metric:
        return None
    abscissa = decided.get("abscissa") or study.identity.get("abscissa") or "params_non_embedding"
    rows = [
        (float(row[abscissa]), float(row["value"]))
        for row in study.points
        if row["metric"] == metric and row.get("value") is not None and row.get(abscissa) is not None
    ]
    most = _size_of_largest(study, abscissa)
    return Ladder(
        metric=metric,
        abscissa=abscissa,
        below=[row for row in rows if most is None or row[0] < most],
        largest=[row for row in rows if most is not None and row[0] >= most],
    )


def main_figure(study: Study, ladder: Ladder) -> Figure:
    """Draw the points, the law chosen without the largest size, and the largest size."""
    choice = study.choice or {}

    def paint(canvas: Canvas) -> None:
        _axes(canvas, ladder, choice)
        if choice:
            _law(canvas, ladder, choice)
        _points(canvas, ladder)
        axes = canvas.axes
        axes.legend(loc="upper right", fontsize=9.5 if canvas.is_narrow else 11, handlelength=1.6)

    unit = words(ladder.metric)
    points = ", ".join(f"{numbers.short(x)}: {numbers.fixed(value)}" for x, value in sorted(ladder.all))
    return draw(
        "result",
        paint,
        title=f"{unit} against {_abscissa(ladder)}",
        description=f"One point per run, {points}. {_prediction_words(choice)}",
        caption=_caption(ladder, choice),
        heights=(430, 340),
    )


def _axes(canvas: Canvas, ladder: Ladder, choice: Mapping[str, Any]) -> None:
    xs = [x for x, _ in ladder.all] + ([choice["prediction"]["x"]] if choice else [])
    canvas.log_counts("x", min(xs) / 1.25, max(xs) * 1.35)
    canvas.axes.set_xlabel(f"{_abscissa(ladder)}, logarithmic")
    canvas.axes.set_ylabel(words(ladder.metric))


def _law(canvas: Canvas, ladder: Ladder, choice: Mapping[str, Any]) -> None:
    """Draw the law: solid where points support it, dashed beyond them, with its interval."""
    axes, form, coefficients = canvas.axes, choice["chosen"], choice["fit"]["coefficients"]
    supported = max(x for x, _ in ladder.below)
    target = choice["prediction"]
    inside = laws.spaced(min(x for x, _ in ladder.below), supported)
    beyond = laws.spaced(supported, max(target["x"], supported * 1.0001) * 1.1)
    for xs, style in ((inside, "-"), (beyond, (0, (5, 3)))):
        if ys := laws.line(form, coefficients, xs):
            label = f"{form} law of the sizes below the largest" if style == "-" else None
            axes.plot(xs, ys, color=INK.sentinel, linewidth=1.4, linestyle=style, label=label)
    if curve := choice.get("curve"):
        label = "95 % interval of a new run"
        axes.fill_between(
            curve["x"],
            curve["low"],
            curve["high"],
            color=SECOND.sentinel,
            alpha=0.14,
            linewidth=0,
            label=label,
        )
    if not numbers.is_missing(target["low"]) and not numbers.is_missing(target["high"]):
        axes.plot(
            [target["x"]] * 2, [target["low"], target["high"]], color=ACCENT.sentinel, linewidth=1.2,
            marker="_", markersize=11, markeredgecolor=ACCENT.sentinel,
            label="predicted for the largest, 95 %",
        )  # fmt: skip


def _points(canvas: Canvas, ladder: Ladder) -> None:
    axes = canvas.axes
    shape = {"linestyle": "none", "markersize": 7, "markeredgewidth": 1.4}
    axes.plot(
        [x for x, _ in ladder.below], [value for _, value in ladder.below], marker="o", label="run, fitted",
        markerfacecolor=PAPER.sentinel, markeredgecolor=SECOND.sentinel, **shape,
    )  # fmt: skip
    if ladder.largest:
        axes.plot(
            [x for x, _ in ladder.largest], [value for _, value in ladder.largest], marker="D",
            label="run of the largest, held out", markerfacecolor=ACCENT.sentinel,
            markeredgecolor=PAPER.sentinel, **shape,
        )  # fmt: skip


def _caption(ladder: Ladder, choice: Mapping[str, Any]) -> str:
    said = f"{words(ladder.metric).capitalize()} of every run against its {_abscissa(ladder)}."
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


def _abscissa(ladder: Ladder) -> str:
    return ABSCISSAE.get(ladder.abscissa, ladder.abscissa)


def _criterion(criterion: Mapping[str, Any]) -> dict[str, Any]:
    value = criterion.get("value")
    shown = numbers.interval(value) if isinstance(value, list) else numbers.number(value, 3)
    return {
        "name": criterion["name"],
        "rule": criterion["rule"],
        "value": shown,
        "passed": criterion["passed"],
    }


def _rungs(verdict: Mapping[str, Any]) -> Table | None:
    if not verdict.get("sizes"):
        return None
    rows = [
        (
            size["rung"],
            numbers.count(size["params_non_embedding"]),
            numbers.count(size["params"]),
            ", ".join(numbers.fixed(value, 4) for value in size["values"]),
            numbers.fixed(size["mean"], 4),
            numbers.fixed(size["seed_sd"], 4) if len(size["values"]) > 1 else "one seed",
            numbers.fixed(size["stderr"], 4),
        )
        for size in verdict["sizes"]
    ]
    head = ("size", "non-embedding", "all parameters", "each seed", "mean", "sd of seeds", "standard error")
    return Table(head=head, rows=rows)


def _size_of_largest(study: Study, abscissa: str) -> float | None:
    """Return the size that was held back, by the plan; by the prediction where there is no plan."""
    if study.plan:
        held = [run[abscissa] for run in study.plan["runs"] if run["is_largest"] and abscissa in run]
        return float(min(held)) if held else None
    return float(study.choice["prediction"]["x"]) if study.choice else None
