"""Every metric against size: its line, how well it foretells the largest, and its shape in a word."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report import laws, numbers
from pipeline.report.canvas import Canvas
from pipeline.report.evaluation import is_share, words
from pipeline.report.figure import Figure, draw
from pipeline.report.ladder import BEYOND, abscissa_words, file_name
from pipeline.report.palette import ACCENT, INK, SECOND, THIRD, Colour
from pipeline.report.section import Block, Fold, Note, Section, Table
from pipeline.report.sources import Sources
from pipeline.report.studied import Study

NAME, TITLE = "series", "Every metric against size"
COLOURS: Sequence[tuple[Colour, str]] = ((SECOND, "o"), (ACCENT, "s"), (THIRD, "^"), (INK, "v"))
OPEN = 8  # figures that are not folded away
LONG = 1e4  # axes that reach so far have their numbers shortened
HEAD = (
    "slope per decade (95 %)", "R² (log-log)", "steps that gain nothing", "line's error at the largest",
    "power law's", "shape",
)  # fmt: skip
READING = (
    "Slopes and errors of shares are in points of 100. R² is of the line, in parentheses of the power law on "
    "logarithms. An error is predicted less observed at the largest size, by the law through the others; n "
    "is the noise of one run. A line promises too much of what is saturating, too little of what accelerates."
)

Row = Mapping[str, Any]


def section(sources: Sources) -> Section:
    """Return the section; none where the verdict does not describe series."""
    study = sources.study
    rows = study.found("series") if study else None
    if not study or not rows:
        return Section(name=NAME, title=TITLE)
    drawn = [_figure(study, metric, found) for metric, found in _by_metric(rows).items()]
    several = len({row["arm"] for row in rows}) > 1
    blocks: list[Block] = [f"Over {common}."] if (common := span(rows)) else []
    blocks += [table(rows, ("arm",) if several else ()), Note(READING), *drawn[:OPEN]]
    if drawn[OPEN:]:
        blocks.append(Fold("More metrics", drawn[OPEN:]))
    if undirected := study.found("undirected"):
        told = ", ".join(words(metric) for metric in undirected)
        blocks.append(Note(f"Of these nothing says which way is better, so they are not judged: {told}."))
    return Section(name=NAME, title=TITLE, blocks=blocks)


def table(rows: Sequence[Row], more: Sequence[str] = ()) -> Table:
    """Return the table of several series; `more` are keys of words that stand beside the metric.

    A range in decades that is the same for all is left to `span`.
    """
    differ = ["decades"] if span(rows) is None else []
    return Table(
        head=("metric", *more, *differ, *HEAD), labels=1 + len(more),
        rows=[
            (words(row["metric"]), *(str(row[key]) for key in more),
             *(numbers.fixed(row[key], 2) for key in differ), *_cells(row))
            for row in rows
        ],
    )  # fmt: skip


def span(rows: Sequence[Row]) -> str | None:
    """Return the decades that sizes span, None where it is not the same for all rows."""
    found = {numbers.fixed(row["decades"], 2) for row in rows}
    return f"{found.pop()} decades of size" if len(found) == 1 else None


def _cells(row: Row) -> tuple[str, ...]:
    ends = [_shown(row, end) for end in row["slope_interval"] or (None, None)]
    noises = "" if row["error_in_noise"] is None else f" ({row['error_in_noise']:.1f} n)"
    log_log = "" if row["log_log_r2"] is None else f" ({row['log_log_r2']:.3f})"
    return (
        numbers.estimate(_shown(row, row["slope"]), ends),
        numbers.fixed(row["r2"]) + log_log,
        numbers.MISSING if row["steps"] is None else f"{row['wrong_steps']} of {row['steps']}",
        numbers.signed(_shown(row, row["held_out_error"])) + noises,
        numbers.percent(row["held_out_relative"]),
        _short(row),
    )


def _short(row: Row) -> str:
    """Return a shape without its explanation, which stands once below the table."""
    word, _, more = str(row["shape"]).partition(":")
    return row["shape"] if word == "too few sizes" else word if more else str(row["shape"])


def _shown(row: Row, value: Any) -> Any:
    return 100 * value if is_share(row["metric"].rpartition(".")[2]) and value is not None else value


def _by_metric(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["metric"], []).append(row)
    return found


def _figure(study: Study, metric: str, rows: Sequence[Row]) -> Figure:
    """Draw a metric in all arms: runs, the line of the smaller sizes with its interval, and the largest."""
    abscissa = study.found("abscissa") or "params_non_embedding"
    share = is_share(metric.rpartition(".")[2])
    several = len(rows) > 1

    def paint(canvas: Canvas) -> None:
        sizes = [size for row in rows for size in row["sizes"]]
        canvas.log_counts("x", min(sizes) / 1.3, max(sizes) * 1.3)
        for (colour, marker), row in zip(COLOURS, rows, strict=False):
            _paint(canvas, study, abscissa, row, colour, marker, f"{row['arm']}: " if several else "")
        chance = next((row["chance"] for row in rows if row["chance"] is not None), None)
        if chance is not None:
            canvas.level("chance", chance)
        canvas.axes.set_ylim(*_limits(canvas, share))
        canvas.axes.set_xlabel(f"{abscissa_words(abscissa)}, logarithmic")
        canvas.axes.set_ylabel(words(metric) + (", %" if share else ""))
        if share:
            canvas.axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g}")
        elif max(map(abs, canvas.axes.get_ylim())) >= LONG:
            canvas.axes.yaxis.set_major_formatter(lambda value, _: numbers.short(value))
        canvas.legend()

    told = [_sentence(row, several) for row in rows]
    return draw(
        file_name("series", metric),
        paint,
        title=f"{words(metric)} against size",
        description=" ".join(told),
        caption=f"{words(metric).capitalize()}: every run, the line through the sizes below the largest with "
        f"its 95 % interval for a new run, and the largest size filled. {' '.join(told)}",
        heights=(360, 350),
    )


def _paint(
    canvas: Canvas, study: Study, abscissa: str, row: Row, colour: Colour, marker: str, named: str
) -> None:
    runs = [
        (float(run[abscissa]), float(run["value"]), run["name"])
        for run in study.rows(row["metric"], row["arm"])
        if run.get(abscissa)
    ] or [(x, y, "mean of seeds") for x, y in zip(row["sizes"], row["values"], strict=True)]
    most = max(row["sizes"])
    if curve := row.get("curve"):
        inside = [n for n, x in enumerate(curve["x"]) if x <= _second(row["sizes"])]
        beyond = [n for n, x in enumerate(curve["x"]) if n >= len(inside) - 1]
        for places, dash in ((inside, "-"), (beyond, BEYOND)):
            canvas.line(
                f"{named}line of the smaller sizes", [curve["x"][n] for n in places],
                [curve["value"][n] for n in places], colour, dash=dash, quiet=dash != "-",
            )  # fmt: skip
        if curve["low"] and not any(numbers.is_missing(end) for end in (*curve["low"], *curve["high"])):
            canvas.band(f"{named}95 % interval", curve["x"], curve["low"], curve["high"], colour, quiet=True)
    elif row["slope"] is not None and not _is_unfit(row):
        ends = [min(row["sizes"]), most]
        canvas.line(f"{named}line", ends, [_on_line(row, x) for x in ends], colour)
    for is_largest in (False, True):
        chosen = [run for run in runs if (run[0] >= most) == is_largest]
        xs, ys, names = zip(*chosen, strict=True) if chosen else ((), (), ())
        canvas.points(
            f"{named}{'largest, held out' if is_largest else 'runs'}", xs, ys, colour, names=names,
            marker=marker, size=7.5 if is_largest else 6.5, is_filled=is_largest, quiet=is_largest,
        )  # fmt: skip


def _limits(canvas: Canvas, share: bool) -> tuple[float, float]:
    """Return the range of points and lines: an interval may be so wide that nothing else could be seen."""
    drawn = [mark.y for mark in canvas.marks if mark.y is not None]
    pad = 0.18 * (max(drawn) - min(drawn)) or 0.05
    low, high = min(drawn) - pad, max(drawn) + pad
    return (max(low, -0.02), min(high, 1.02)) if share else (low, high)


def _second(sizes: Sequence[float]) -> float:
    return sorted(sizes)[-2] if len(sizes) > 1 else max(sizes)


def _is_unfit(row: Row) -> bool:
    return str(row["shape"]).startswith(("at chance", "too few"))


def _on_line(row: Row, x: float) -> float:
    """Return the least-squares line at x: it goes through the middle of the points."""
    middle = sum(row["values"]) / len(row["values"])
    return float(middle + row["slope"] * (math.log10(x) - laws.middle(row["sizes"])))


def _sentence(row: Row, several: bool) -> str:
    arm = f"Arm {row['arm']}: " if several else ""
    if row["slope"] is None:
        return f"{arm}{row['shape']}."
    noises = "" if row["error_in_noise"] is None else f", {row['error_in_noise']:.1f} times the noise"
    slope = numbers.signed(_shown(row, row["slope"]))
    error = numbers.signed(_shown(row, row["held_out_error"]))
    return f"{arm}{slope} per decade; the line misses the largest by {error}{noises}; {row['shape']}."
