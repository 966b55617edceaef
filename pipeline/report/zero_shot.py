"""What trials do without fine-tuning, by steps of their pre-training: Figure 2 of GPT-1's paper, right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

from pipeline.formats.paper_gpt1 import LSTM, NORMALISED, OURS, ZERO_SHOT
from pipeline.report import numbers
from pipeline.report.canvas import Canvas, Dash
from pipeline.report.comparison import FILE
from pipeline.report.figure import Figure, draw
from pipeline.report.finetuned import named, points
from pipeline.report.palette import ranked
from pipeline.report.section import Block, Section, Table
from pipeline.report.sources import Sources

NAME, TITLE = "zero-shot", "Without fine-tuning, as pre-training goes on"
DASHES: Sequence[Dash] = ("-", (0, (5, 2)), (0, (1, 2)), (0, (5, 2, 1, 2)))
ENDS = {OURS: "s", LSTM: "D"}

Point = Mapping[str, Any]


def section(sources: Sources) -> Section:
    """Return the section; it is not wanted where a comparison evaluates no checkpoints."""
    if not (sources.extra("plan.json") or {}).get("watched"):
        return Section(name=NAME, title=TITLE)
    found = (sources.extra(FILE) or {}).get("zero_shot")
    if not found:
        remedy = f"no {FILE} here yet; the same `loglinear study CONFIG` goes on from where it stands"
        return Section(name=NAME, title=TITLE, remedy=remedy)
    drawn = [point for point in found if point["normalised"] is not None]
    blocks: list[Block] = [course(drawn), beside_paper(drawn)] if drawn else []
    return Section(name=NAME, title=TITLE, blocks=[*blocks, table(found)])


def course(drawn: Sequence[Point]) -> Figure:
    """Draw a colour for each task and a dash for each trial, and where the paper's two curves end."""
    tasks = [task for task in ZERO_SHOT if any(point["task"] == task for point in drawn)]
    trials = list(dict.fromkeys(point["trial"] for point in drawn))
    colours = dict(zip(tasks, ranked(len(tasks)), strict=True))
    steps = [point["step"] for point in drawn]

    def paint(canvas: Canvas) -> None:
        for task in tasks:
            for dash, trial in zip(cycle(DASHES), trials, strict=False):
                series = f"{ZERO_SHOT[task].title}, {trial}"
                line = [point for point in drawn if (point["task"], point["trial"]) == (task, trial)]
                xs, ys = [point["step"] for point in line], [point["normalised"] for point in line]
                canvas.line(series, xs, ys, colours[task], dash=dash)
                canvas.points(series, xs, ys, colours[task], size=4, is_filled=True, quiet=True)
                for x, y, point in zip(xs, ys, line, strict=True):
                    error = point["normalised_error"]
                    if error is not None:
                        canvas.reach(series, x, y, y - error, y + error, colours[task], quiet=True)
            for row, end in ZERO_SHOT[task].ends.items():
                paper = f"{ZERO_SHOT[task].title}, the paper's {row}"
                canvas.points(paper, [1.25 * max(steps)], [end], colours[task], marker=ENDS[row], quiet=True)
        canvas.level("guessing", 0.0, quiet=True)
        canvas.log_counts("x", 0.8 * min(steps), 1.5 * max(steps))
        canvas.axes.set_xlabel("steps of pre-training")
        canvas.axes.set_ylabel("0: guessing, 1: best before")
        canvas.legend()

    legend = 17 * len(tasks) * len(trials)
    return draw(
        "zero-shot", paint, title="Tasks without fine-tuning against steps of pre-training",
        description=". ".join(_said(drawn, trial) for trial in trials),
        caption=f"Each checkpoint that was kept, with one standard error; {NORMALISED}. Squares and diamonds "
        f"are where the curves of the paper's Transformer and of its {LSTM} end, after a million updates.",
        heights=(380 + legend // 2, 300 + legend),
    )  # fmt: skip


def beside_paper(drawn: Sequence[Point]) -> Table:
    """Return the way from guessing to the best before, of each trial's last checkpoint and of the paper's."""
    tasks = [task for task in ZERO_SHOT if any(point["task"] == task for point in drawn)]
    rows = []
    for trial in dict.fromkeys(point["trial"] for point in drawn):
        step = max(point["step"] for point in drawn if point["trial"] == trial)
        last = {point["task"]: point for point in drawn if (point["trial"], point["step"]) == (trial, step)}
        rows.append((f"{trial}, {numbers.count(step)} steps", *(_way(last.get(task)) for task in tasks)))
    for row in (OURS, LSTM):
        ends = [numbers.fixed(ZERO_SHOT[task].ends[row], 2) for task in tasks]
        rows.append((f"paper: {row}, 1,000,000 steps", *ends))
    head = ("from guessing (0) to the best before (1)", *(ZERO_SHOT[task].title for task in tasks))
    caption = "The last checkpoint of each trial; the paper's read off its figure 2."
    return Table(head=head, rows=rows, caption=caption)


def table(found: Sequence[Point]) -> Table:
    """Return the scores themselves: a row for each metric, the last checkpoint of each trial."""
    trials = list(dict.fromkeys(point["trial"] for point in found))
    last = {trial: max(point["step"] for point in found if point["trial"] == trial) for trial in trials}
    cells = {
        (point["task"], point["metric"], point["trial"]): point
        for point in found
        if point["step"] == last[point["trial"]]
    }
    rows = []
    for task, metric in dict.fromkeys((task, metric) for task, metric, _ in cells):
        known = ZERO_SHOT.get(task)
        sides = (known.guess, known.best) if known and known.metric == metric else (None, None)
        rows.append(
            (
                f"{task.replace('_', ' ')}: {named(metric)}",
                *(_score(cells.get((task, metric, trial))) for trial in trials),
                *(points(metric, side, "") for side in sides),
            )
        )
    head = (
        "",
        *(f"{trial}, {numbers.count(last[trial])} steps" for trial in trials),
        "guessing",
        "best before",
    )
    caption = "Validation splits; after ± stands one standard error. zero-shot.csv has every checkpoint."
    return Table(head=head, rows=rows, caption=caption)


def _way(point: Point | None) -> str:
    if point is None:
        return numbers.MISSING
    aside = f", {point['told']}" if point["told"] in ("at chance", "below chance") else ""
    return f"{numbers.measured(point['normalised'], point['normalised_error'], 2)}{aside}"


def _score(point: Point | None) -> str:
    if point is None:
        return numbers.MISSING
    error = "" if point["stderr"] is None else f" ± {points(point['metric'], point['stderr'])}"
    return f"{points(point['metric'], point['value'])}{error}"


def _said(drawn: Sequence[Point], trial: str) -> str:
    """Return how a trial came from its first checkpoint to its last, in words."""
    ways: dict[str, list[float]] = {}
    for point in drawn:
        if point["trial"] == trial:
            ways.setdefault(ZERO_SHOT[point["task"]].title, []).append(point["normalised"])
    told = [
        f"{title} from {numbers.fixed(w[0], 2)} to {numbers.fixed(w[-1], 2)}" for title, w in ways.items()
    ]
    return f"{trial}: {', '.join(told)}"
