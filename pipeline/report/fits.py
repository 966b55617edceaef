"""The fits: three laws with their intervals, how one was chosen, and the proof that prediction came first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline.report import laws, numbers
from pipeline.report.evaluation import words
from pipeline.report.figure import Canvas, Figure, draw
from pipeline.report.palette import ACCENT, INK, MUTED, PAPER, SECOND
from pipeline.report.result import ABSCISSAE, Ladder, ladder_of
from pipeline.report.section import Section, Table
from pipeline.report.sources import Sources, Study

NAME, TITLE = "fits", "Fits and prediction"
STYLES = {
    "log-linear": (SECOND, "-"),
    "power": (ACCENT, (0, (6, 2))),
    "offset-power": (INK, (0, (1.5, 1.5))),
}


def section(sources: Sources) -> Section:
    """Return the section, or how to make the fits it needs."""
    study = sources.study
    if not study or not (study.fits or study.choice):
        remedy = "no fits/ here; `loglinear study CONFIG` writes them when its runs are finished"
        return Section(name=NAME, title=TITLE, remedy=remedy)
    ladder = ladder_of(study)
    moments = timeline(study, sources)
    values = {
        "figure": _figure(study.fits, ladder) if ladder and ladder.all and study.fits else None,
        "coefficients": _coefficients(study.fits),
        "warnings": [
            (name, fit.get("warnings", [])) for name, fit in study.fits.items() if fit.get("warnings")
        ],
        "choice": study.choice,
        "candidates": _candidates(study.choice),
        "held_out": _held_out(study.verdict),
        "noise": (study.verdict or {}).get("noise"),
        "times": [(moment.what, _written(moment.when)) for moment in moments],
        "order": _order(moments),
        "ladder": _ladder(study),
    }
    return Section(name=NAME, title=TITLE, template="fits.html.j2", values=values)


@dataclass(frozen=True)
class Moment:
    """Something that happened at a time; None where its file does not say."""

    kind: str
    what: str
    when: datetime | None


def timeline(study: Study, sources: Sources) -> list[Moment]:
    """Return what happened when, as the files say: plan, prediction, the largest runs, verdict."""
    moments = []
    if study.plan:
        created = _time(study.plan.get("created"))
        moments.append(Moment("plan", "plan and rule of success frozen (plan.json)", created))
    if study.choice:
        written = _time(study.choice.get("written"))
        moments.append(Moment("prediction", "law chosen, largest size predicted (fits/choice.json)", written))
    held = {run["name"] for run in study.plan["runs"] if run["is_largest"]} if study.plan else set()
    for trained in sources.runs:
        attempts = trained.run.attempts() if trained.name in held else []
        if attempts:
            began = _time(attempts[0].get("started"))
            moments.append(Moment("largest", f"training of {trained.name} began (attempts/000.json)", began))
    if study.verdict:
        moments.append(
            Moment("verdict", "verdict written (verdict.json)", _time(study.verdict.get("written")))
        )
    return moments


def _order(moments: Sequence[Moment]) -> str:
    """Return whether the files show that the prediction was there before the largest size was trained."""
    predicted = [moment.when for moment in moments if moment.kind == "prediction"]
    trained = [moment.when for moment in moments if moment.kind == "largest"]
    if not predicted or not trained or None in (*predicted, *trained):
        return "The files do not show which came first, the prediction or the training of the largest size."
    ahead = (min(when for when in trained if when) - max(when for when in predicted if when)).total_seconds()
    if ahead >= 0:
        return f"The prediction was written {numbers.duration(ahead)} before the largest size began to train."
    return f"The largest size began to train {numbers.duration(-ahead)} before the prediction was written."


def _written(when: datetime | None) -> str:
    return when.strftime("%Y-%m-%d %H:%M:%S UTC") if when else numbers.MISSING


def _time(value: Any) -> datetime | None:
    """Return a time given in seconds since 1970 or in ISO 8601."""
    if isinstance(value, int | float) and not numbers.is_missing(value):
        return datetime.fromtimestamp(value, UTC)
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (TypeError, ValueError):
        return None


def _coefficients(fits: Mapping[str, Any]) -> Table | None:
    rows = []
    for form, fit in fits.items():
        formula = laws.FORMULAS.get(form, "")
        state = numbers.count(fit.get("n")) if fit.get("converged") else "did not converge"
        whole = (form, formula), (numbers.number(fit.get("rss"), 3), state)
        for name, value in fit["coefficients"].items():
            bounds = numbers.interval(fit["intervals"].get(name), 3)
            rows.append((*whole[0], name, numbers.number(value), bounds, *whole[1]))
            whole = ("", ""), ("", "")  # said once a law, not once a coefficient
    head = ("law", "formula", "coefficient", "value", "95 % interval", "sum of squares", "points")
    return Table(head=head, rows=rows, labels=3) if rows else None


def _candidates(choice: Any) -> Table | None:
    if not choice:
        return None
    rows = [
        (
            candidate["form"] + (" (chosen)" if candidate["form"] == choice["chosen"] else ""),
            numbers.number(candidate["predicted"]),
            numbers.number(choice["left_out"]["observed"]),
            numbers.percent(candidate["relative_error"], 2),
            "yes" if candidate["eligible"] else f"no: {candidate['why_not'] or 'no prediction'}",
        )
        for candidate in choice["candidates"]
    ]
    return Table(head=("law", "predicted", "observed", "error", "may be chosen"), rows=rows)


def _held_out(verdict: Any) -> list[tuple[str, str]]:
    held = (verdict or {}).get("held_out")
    if not held:
        return []
    noises = held.get("error_in_noise")
    ends = numbers.interval((held["low"], held["high"]))
    inside = "inside" if held["inside_interval"] else "outside"
    return [
        ("size", str(held["rung"])),
        ("law", str(held["form"])),
        (
            "predicted",
            f"{numbers.number(held['predicted'])} (95 % interval {ends})",
        ),
        ("observed", f"{numbers.number(held['observed'])}, {inside} the interval"),
        ("error", f"{numbers.number(held['error'], 3)} ({numbers.percent(held['relative_error'], 2)})"),
        (
            "in units of noise",
            numbers.MISSING if numbers.is_missing(noises) else f"{noises:.2f} times the scatter of one run",
        ),
        ("predicted before training", "yes" if held["predicted_before_training"] else "no"),
    ]


def _ladder(study: Study) -> Table | None:
    if not study.plan:
        return None
    rows = [
        (
            run["name"] + (" (held out)" if run["is_largest"] else ""),
            numbers.count(run["params_non_embedding"]),
            numbers.number(run["lr"], 3),
            numbers.count(run["tokens"]),
            numbers.fixed(run.get("tokens_per_parameter"), 1),
            numbers.fixed(run.get("epochs"), 2),
            numbers.number(run["flops"], 3),
        )
        for run in sorted(study.plan["runs"], key=lambda run: (run["params_non_embedding"], run["seed"]))
    ]
    head = (
        "run",
        "non-embedding",
        "peak lr",
        "tokens",
        "tokens per parameter",
        "passes over the data",
        "FLOPs",
    )
    formula = study.plan.get("flops_formula")
    caption = f"FLOPs by {formula}; tokens per non-embedding parameter." if formula else ""
    return Table(head=head, rows=rows, caption=caption)


def _figure(fits: Mapping[str, Any], ladder: Ladder) -> Figure:
    xs = [x for x, _ in ladder.all]
    grid = laws.spaced(min(xs) / 1.1, max(xs) * 3)

    def paint(canvas: Canvas) -> None:
        axes = canvas.axes
        for form, fit in fits.items():
            colour, style = STYLES.get(form, (MUTED, "-"))
            if ys := laws.line(form, fit["coefficients"], grid):
                axes.plot(grid, ys, color=colour.sentinel, linestyle=style, linewidth=1.3, label=form)
        axes.plot(
            xs, [value for _, value in ladder.all], linestyle="none", marker="o", markersize=6,
            markeredgewidth=1.2, markerfacecolor=PAPER.sentinel, markeredgecolor=INK.sentinel,
        )  # fmt: skip
        canvas.log_counts("x", grid[0], grid[-1])
        axes.set_xlabel(f"{ABSCISSAE.get(ladder.abscissa, ladder.abscissa)}, logarithmic")
        axes.set_ylabel(words(ladder.metric))
        axes.legend(loc="upper right")

    return draw(
        "fits",
        paint,
        title="Three laws through the same points",
        description="The laws "
        + ", ".join(fits)
        + " fitted to all sizes and drawn to three times the largest.",
        caption="The three laws fitted to all runs, drawn to three times the largest size. "
        "Where they part is what these sizes cannot tell.",
        heights=(380, 320),
    )
