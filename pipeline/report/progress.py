"""How scores of tasks came: each checkpoint of a run that was evaluated, against the tokens it had seen."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.formats.paper import title_of
from pipeline.report import numbers
from pipeline.report.canvas import Canvas
from pipeline.report.evaluation import Score, is_share, scores_in
from pipeline.report.figure import Figure, draw, label_ends
from pipeline.report.palette import ranked
from pipeline.report.section import Section
from pipeline.report.sources import Sources, Trained

NAME, TITLE = "progress", "Scores of tasks as the model learns"
FEWEST = 2
DRAWN = ("acc", "f1", "exact_match", "bits_per_byte")
_STEP = re.compile(r"^step-(\d+)$")

Curve = list[tuple[float, Score]]  # tokens seen, and the score there


def section(sources: Sources) -> Section:
    """Return the section of a run of which several checkpoints were evaluated."""
    curves = curves_of(sources)
    kinds: list[tuple[str, str, Callable[[str], bool]]] = [
        ("progress-shares", "share, %", is_share),
        ("progress-bits", "bits per byte", lambda metric: metric == "bits_per_byte"),
    ]
    figures = [
        _figure(name, label, chosen)
        for name, label, belongs in kinds
        if (chosen := {key: curve for key, curve in curves.items() if belongs(key[1])})
    ]
    return Section(name=NAME, title=TITLE, template="progress.html.j2", values={"figures": figures})


def curves_of(sources: Sources) -> Mapping[tuple[str, str], Curve]:
    """Return the curve of each task and metric with two points or more; none of several runs at once."""
    if sources.kind != "run":
        return {}
    (trained,) = sources.runs
    found: dict[tuple[str, str], Curve] = {}
    for folder in trained.result_folders:
        tokens = _tokens(trained, folder)
        for score in scores_in(folder, trained) if tokens else ():
            if not numbers.is_missing(score.value):
                found.setdefault((score.task, score.metric), []).append((tokens or 0, score))
    return {
        (task, metric): curve
        for (task, metric), curve in found.items()
        if len(curve) >= FEWEST and metric.startswith(DRAWN)
    }


def _tokens(trained: Trained, folder: Path) -> float | None:
    """Return the tokens that the checkpoint of a folder of results had seen; None if its rows are gone."""
    step = _STEP.match(folder.name)
    rate = next((row["tokens"] / row["step"] for row in trained.run.rows() if row.get("tokens")), None)
    return int(step[1]) * rate if step and rate else None


def _figure(name: str, label: str, curves: Mapping[tuple[str, str], Curve]) -> Figure:
    titles = {key: _title(key, curves) for key in curves}
    colours = dict(zip(curves, ranked(len(curves)), strict=True))
    scale = 100 if label.endswith("%") else 1

    def paint(canvas: Canvas) -> None:
        axes, ends = canvas.axes, []
        for key, curve in curves.items():
            tokens, values = [at for at, _ in curve], [scale * (score.value or 0) for _, score in curve]
            errors = [scale * (score.stderr or 0) for _, score in curve]
            colour = colours[key].sentinel
            axes.errorbar(tokens, values, yerr=errors, color=colour, linewidth=1.3, marker="o", capsize=0)
            ends.append((tokens[-1], values[-1], titles[key], colour))
        everywhere = [at for curve in curves.values() for at, _ in curve]
        canvas.log_counts("x", min(everywhere) / 1.05, max(everywhere) * 1.02)
        axes.set_xlabel("training tokens seen")
        axes.set_ylabel(label)
        label_ends(axes, ends, 0.052)

    said = "; ".join(
        f"{titles[key]} from {numbers.number(scale * (curve[0][1].value or 0), 3)} to "
        f"{numbers.number(scale * (curve[-1][1].value or 0), 3)}"
        for key, curve in curves.items()
    )
    return draw(
        name, paint, title=f"Scores against tokens: {label}", description=said,
        caption=f"Each evaluated checkpoint, {label}, against the tokens that it had seen; lines are one "
        "standard error to both sides.",
    )  # fmt: skip


def _title(key: tuple[str, str], curves: Mapping[tuple[str, str], Curve]) -> str:
    """Return a task's name, with the metric where the task has several here."""
    task, metric = key
    several = sum(other == task for other, _ in curves) > 1
    name = title_of(task)
    return f"{name}, {metric.replace('_', ' ').removeprefix('accuracy ')}" if several else name
