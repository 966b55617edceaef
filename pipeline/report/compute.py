"""Loss against compute with its frontier, and the best size for each budget (curves of equal FLOPs)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report import laws, numbers
from pipeline.report.canvas import Canvas
from pipeline.report.evaluation import words
from pipeline.report.figure import Figure, draw
from pipeline.report.ladder import abscissa_words, file_name
from pipeline.report.palette import INK, MUTED, ranked
from pipeline.report.result import said
from pipeline.report.section import Block, Fold, Heading, Points, Section, Table
from pipeline.report.series import COLOURS
from pipeline.report.sources import Sources
from pipeline.report.studied import Study

NAME, TITLE = "compute", "What compute buys"
PARABOLA = "parabola"

Minimum = Mapping[str, Any]


def section(sources: Sources) -> Section:
    """Return the section; none where the verdict has neither compute nor budgets."""
    study = sources.study
    blocks: list[Block] = []
    if study and (found := study.found("compute")) and found["points"]:
        blocks += [_against_compute(study, found), said(found["words"], str(study.found("metric")))]
    for arm in study.arms if study else ():
        if study and arm.get("budgets"):
            blocks.append(Heading(f"The best size for a budget, arm {arm['name']}"))
            blocks.append(_curves(study, arm))
    if study and (rows := study.found("frontier")):
        if any(value is not None for row in rows for value in row["exponents"].values()):
            blocks.append(_exponents(rows))
        blocks.append(Fold("Every minimum", [_minima(rows)]))
        if warned := _warnings(rows):
            blocks.append(Points(warned))
    return Section(name=NAME, title=TITLE, blocks=blocks)


def _against_compute(study: Study, found: Mapping[str, Any]) -> Figure:
    """Draw a point for each size and arm, the laws through the frontier, and the minima of budgets."""
    points, metric = found["points"], study.found("metric")
    arms = list(dict.fromkeys(point["arm"] for point in points))
    order = {arm["name"]: n for n, arm in enumerate([*study.ladders, *study.arms])}
    flops = [point["flops"] for point in points]
    edge = sorted((p["flops"], p["value"], p["name"]) for p in points if p["on_frontier"])
    grid = laws.spaced(min(flops) / 1.2, max(flops) * 1.2)

    def paint(canvas: Canvas) -> None:
        canvas.log_powers("x", grid[0], grid[-1])
        canvas.line("frontier", [x for x, *_ in edge], [y for _, y, _ in edge], INK, width=1.1)
        for form, dash in (("log-linear", (0, (1.5, 1.5))), ("power", (0, (6, 2)))):
            fit = (found.get("fits") or {}).get(form)
            if fit and (ys := laws.line(form, fit["coefficients"], grid)):
                canvas.line(f"{form} law", grid, ys, MUTED, dash=dash)
        for n, arm in enumerate(sorted(arms, key=order.__getitem__)):
            colour, marker = COLOURS[n % len(COLOURS)]
            own = [point for point in points if point["arm"] == arm]
            canvas.points(
                arm or "runs", [p["flops"] for p in own], [p["value"] for p in own], colour,
                names=[p["name"] for p in own], marker=marker, size=6,
            )  # fmt: skip
        canvas.axes.set_xlabel("training FLOPs, logarithmic")
        canvas.axes.set_ylabel(words(metric))
        canvas.legend()

    formula = (study.plan or {}).get("flops_formula")
    return draw(
        file_name("value-by-compute"),
        paint,
        title=f"{words(metric)} against training compute",
        description="; ".join(f"{p['name']}: {numbers.number(p['value'])}" for p in points),
        caption=f"{words(metric).capitalize()} against training FLOPs"
        + (f" by {formula}" if formula else "")
        + ", the mean of each size's seeds; the line joins what no other beats for as little compute, "
        "and the laws are fitted to that frontier.",
        heights=(430, 390),
    )


def _curves(study: Study, arm: Mapping[str, Any]) -> Figure:
    """Draw each budget's sizes with the parabola through them, and its minimum by both methods."""
    count = study.found("abscissa") or "params_non_embedding"
    budgets = sorted(arm["budgets"], key=lambda budget: budget["flops"])
    found = [
        (row["method"], minimum)
        for row in study.found("frontier") or ()
        if row["count"] == count and row.get("arm") in (None, arm["name"])
        for minimum in row["minima"]
    ]

    def paint(canvas: Canvas) -> None:
        sizes = [point[count] for budget in budgets for point in budget["points"]]
        canvas.log_counts("x", min(sizes) / 1.3, max(sizes) * 1.3)
        for budget, colour in zip(budgets, ranked(len(budgets)), strict=True):
            named = f"{numbers.number(budget['flops'], 2)} FLOPs"
            points = sorted(budget["points"], key=lambda point: point[count])
            xs, ys = [point[count] for point in points], [point["mean"] for point in points]
            own = [(method, each) for method, each in found if _is_of(each, budget) and not each["problem"]]
            bent = next((each for method, each in own if method == PARABOLA and each.get("bend")), None)
            if bent:
                grid = laws.spaced(min(xs), max(xs))
                canvas.line(
                    f"{named}, parabola", grid, [_parabola(bent, x) for x in grid], colour, quiet=True
                )
            else:
                canvas.line(f"{named}, joined", xs, ys, colour, width=1, quiet=True)
            canvas.points(named, xs, ys, colour, names=[point["rung"] for point in points], size=5.5)
            for method, each in own:
                marker = "D" if method == PARABOLA else "x"
                canvas.points(f"{named}, minimum by {method}", [each["params"]], [each["value"]], colour,
                              marker=marker, size=8, is_filled=True, quiet=True)  # fmt: skip
        canvas.axes.set_xlabel(f"{abscissa_words(count)}, logarithmic")
        canvas.axes.set_ylabel(words(arm["metric"]))
        canvas.legend()

    return draw(
        file_name("equal-flops", str(arm["name"])),
        paint,
        title=f"{words(arm['metric'])} of sizes trained with equal FLOPs",
        description="; ".join(f"{b['flops']:.3g} FLOPs: {len(b['points'])} sizes" for b in budgets),
        caption="Each colour is a budget of training FLOPs, each circle a size trained until it is spent. "
        "Diamonds are the minima of parabolas, crosses those by interpolation; a curve whose best size is at "
        "its edge has none.",
        heights=(420, 370),
    )


def _parabola(minimum: Minimum, x: float) -> float:
    away = math.log10(x) - math.log10(minimum["params"])
    return float(minimum["value"] + minimum["bend"] * away**2)


def _is_of(minimum: Minimum, budget: Mapping[str, Any]) -> bool:
    """Whether a minimum is of a budget: its FLOPs are the mean of the runs', which miss it by whole steps."""
    return abs(math.log(minimum["flops"] / budget["flops"])) < math.log(1.15)


def _warnings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what to beware of, once; of what is not said of every count and method, of which it is."""
    named: dict[str, list[str]] = {}
    for row in rows:
        for line in row["warnings"]:
            named.setdefault(numbers.typeset(line), []).append(f"{row['count_words']}, {row['method']}")
    return [line if len(of) == len(rows) else f"{'; '.join(of)}: {line}" for line, of in named.items()]


def _minima(rows: Sequence[Mapping[str, Any]]) -> Table:
    return Table(
        head=("parameters counted", "method", "budget, FLOPs", "best size", "its tokens", "its score", ""),
        labels=2,
        rows=[
            (
                row["count_words"] if n == 0 else "",
                row["method"] if n == 0 else "",
                numbers.number(minimum["flops"], 3),
                numbers.short(minimum["params"]),
                numbers.short(minimum["tokens"]),
                numbers.fixed(minimum["value"], 4),
                minimum["problem"],
            )
            for row in rows
            for n, minimum in enumerate(row["minima"])
        ],
    )


def _exponents(rows: Sequence[Mapping[str, Any]]) -> Table:
    def told(row: Mapping[str, Any], name: str) -> tuple[str, str]:
        ends = (row["intervals"] or {}).get(name)
        return numbers.number(row["exponents"].get(name), 3), numbers.interval(ends, 3)

    return Table(
        head=("parameters counted", "method", "a: best N as C^a", "95 % interval", "b: best D as C^b",
              "95 % interval"),
        labels=2,
        rows=[(row["count_words"], row["method"], *told(row, "a"), *told(row, "b")) for row in rows],
        caption="The exponents depend on which parameters are counted, so both counts are given.",
    )  # fmt: skip
