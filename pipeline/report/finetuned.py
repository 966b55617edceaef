"""A fine-tuning: every figure over its seeds beside the paper's, and how each seed learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pipeline.formats.publish import read_json
from pipeline.report import glue, numbers
from pipeline.report.canvas import Canvas
from pipeline.report.evaluation import is_share
from pipeline.report.figure import Figure, draw
from pipeline.report.palette import ranked
from pipeline.report.section import Section, Table
from pipeline.report.sources import Sources, Trained

NAME, TITLE = "finetuned", "Fine-tuning"
SUMMARY = "summary.json"
PERCENT = ("matthews", "pearson", "spearman")  # as the paper's tables have them, besides shares
MOST_POINTS = 60  # of a drawn curve: single steps are noisy, the means of stretches are not
FEW_POINTS = 12  # a curve of fewer shows them


def section(sources: Sources) -> Section:
    """Return the section, or how to fine-tune."""
    if not sources.runs:
        remedy = "no seed has begun here; `loglinear finetune CONFIG checkpoint=RUN` fine-tunes"
        return Section(name=NAME, title=TITLE, remedy=remedy)
    path = sources.root / SUMMARY
    figures = read_json(path)["figures"] if path.is_file() else []
    values = {
        "table": table(figures) if figures else None,
        "glue": glue.blocks(sources.root),
        "figures": curves(sources.runs),
    }
    return Section(name=NAME, title=TITLE, template="finetuned.html.j2", values=values)


def table(figures: Sequence[Mapping[str, Any]]) -> Table:
    """Return a row for each figure of a summary: ours over seeds, chance, and what the paper printed."""
    rows = list(dict.fromkeys(row for figure in figures for row in figure["paper"]))
    lines = []
    for figure in figures:
        metric = figure["metric"]
        each = ", ".join(points(metric, value) for value in figure["values"].values())
        spread = "one seed" if figure["sd"] is None else points(metric, figure["sd"])
        printed = [points(metric, figure["paper"].get(row), "") for row in rows]
        name = f"{figure['split']}, {named(metric)}"
        ours = [points(metric, figure["median"]), spread, points(metric, figure["stderr"]), each]
        lines.append((name, *ours, points(metric, figure["chance"], ""), *printed))
    head = ("split and metric", "median", "sd of seeds", "error by examples", "each seed", "chance")
    said = "The paper's figures are of test sets, by GLUE's server where there is one. " if rows else ""
    caption = f"{said}Shares and correlations stand in per cent; the error is the mean of the seeds'."
    return Table(head=(*head, *(f"paper: {row}" for row in rows)), rows=lines, caption=caption)


def named(metric: str) -> str:
    """Return a metric in words."""
    words = metric.replace("_", " ")
    return f"{words}, %" if _is_percent(metric) else words


def points(metric: str, value: float | None, missing: str = numbers.MISSING) -> str:
    """Return a figure as the paper's tables print it."""
    if value is None or numbers.is_missing(value):
        return missing
    return numbers.fixed(100 * value, 1) if _is_percent(metric) else numbers.fixed(value)


def curves(runs: Sequence[Trained]) -> list[Figure]:
    """Return the training loss of all seeds, and what each epoch scored on the validation split."""
    rows = {trained.name: trained.run.rows() for trained in runs}
    metrics = [
        key for found in rows.values() for row in found for key in row if key.startswith("validation_")
    ]
    scored = [key for key in dict.fromkeys(metrics) if not key.endswith(("_stderr", "_loss"))]
    found = []
    if any("loss" in row for each in rows.values() for row in each):
        found.append(_figure("finetune-loss", "training loss, nats", rows, _losses))
    for key in scored[:1]:
        label = f"{named(key.removeprefix('validation_')).removesuffix(', %')} on the validation split"
        found.append(_figure("finetune-validation", label, rows, partial(_scores, key)))
    return found


Rows = Sequence[Mapping[str, Any]]
Points = list[tuple[float, float]]


def _losses(rows: Rows) -> Points:
    there = [(row["epoch"], row["loss"]) for row in rows if row.get("loss") is not None and "epoch" in row]
    width = -(-len(there) // MOST_POINTS) or 1
    parts = [there[start : start + width] for start in range(0, len(there), width)]
    return [(part[-1][0], sum(loss for _, loss in part) / len(part)) for part in parts]


def _scores(key: str, rows: Rows) -> Points:
    return [(row["epoch"], row[key]) for row in rows if row.get(key) is not None]


def _figure(name: str, label: str, rows: Mapping[str, Rows], read: Callable[[Rows], Points]) -> Figure:
    colours = dict(zip(rows, ranked(len(rows)), strict=True))
    found = {seed: read(each) for seed, each in rows.items()}

    def paint(canvas: Canvas) -> None:
        for seed, line in found.items():
            xs, ys = [x for x, _ in line], [y for _, y in line]
            canvas.line(seed, xs, ys, colours[seed], width=1.3)
            if len(line) < FEW_POINTS:
                canvas.points(seed, xs, ys, colours[seed], size=5, is_filled=True, quiet=True)
        canvas.axes.set_xlabel("epochs")
        canvas.axes.set_ylabel(label)
        canvas.legend()

    ends = ", ".join(f"{seed} {numbers.number(line[-1][1])}" for seed, line in found.items() if line)
    return draw(
        name, paint, title=f"{label} by epoch", description=f"At the end: {ends}.",
        caption=f"{label[:1].upper()}{label[1:]}, one line for each seed.", heights=(300, 260),
    )  # fmt: skip


def _is_percent(metric: str) -> bool:
    return is_share(metric) or metric.startswith(PERCENT)
