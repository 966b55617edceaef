"""Loss curves of runs: loss against tokens seen, and where each run ended."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.report import course, numbers
from pipeline.report.figure import Canvas, Figure, draw, label_ends
from pipeline.report.palette import ACCENT, Colour, ranked
from pipeline.report.section import Section, Table
from pipeline.report.sources import Sources, Trained

NAME, TITLE = "curves", "Loss curves"
MOST_POINTS = 40  # of a drawn curve: single steps are small and noisy, their means over a stretch are not
LABELLED = 12


@dataclass(frozen=True)
class Curve:
    """One run's training loss: means over stretches of equal width on the logarithmic axis of tokens seen,
    each against the tokens at its end.

    `validations` are pairs of tokens seen and validation loss; `skipped` and `rollbacks` are the tokens seen
    where steps were skipped, and where the run went on after going back.
    """

    trained: Trained
    tokens: Sequence[float]
    losses: Sequence[float]
    validations: Sequence[tuple[float, float]]
    skipped: Sequence[float]
    rollbacks: Sequence[float]


def section(sources: Sources) -> Section:
    """Return the section, or how to train what it needs."""
    curves = [curve for trained in sources.runs if (curve := curve_of(trained)).tokens]
    if not curves:
        verb = "train" if sources.kind == "run" else "study"
        return Section(
            name=NAME,
            title=TITLE,
            remedy=f"no finished step of any run here; `loglinear {verb} CONFIG` trains",
        )
    facts = course.facts(sources.runs[0]) if sources.kind == "run" else []
    values = {"figure": _figure(curves), "ends": _ends(sources.runs), "facts": facts}
    return Section(name=NAME, title=TITLE, template="curves.html.j2", values=values)


def curve_of(trained: Trained) -> Curve:
    """Return a run's curve; steps whose loss is missing are left out, not drawn as zero."""
    everything = trained.run.rows()
    written = [row for row in everything if row.get("tokens")]
    rows = [row for row in written if not numbers.is_missing(row.get("loss"))]
    validated = [
        (row["tokens"], row["validation_loss"])
        for row in written
        if not numbers.is_missing(row.get("validation_loss"))
    ]
    parts = [list(part) for _, part in itertools.groupby(rows, key=lambda row: _stretch(row, rows))]
    losses = [sum(row["loss"] for row in part) / len(part) for part in parts]
    return Curve(
        trained,
        [part[-1]["tokens"] for part in parts],
        losses,
        validated,
        course.places(everything, course.SKIPPED),
        course.places(everything, course.ROLLED_BACK),
    )


def _stretch(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> int:
    """Return which of MOST_POINTS stretches a row falls into."""
    first, last = rows[0]["tokens"], rows[-1]["tokens"]
    if row["tokens"] >= last:
        return MOST_POINTS - 1
    return int(MOST_POINTS * math.log(row["tokens"] / first) / math.log(last / first))


def size_label(trained: Trained) -> str:
    """Return how a run's size is called: the paper's label, or its non-embedding parameters."""
    if trained.model and trained.model.label:
        return trained.model.label
    return numbers.short(trained.params_non_embedding) if trained.params_non_embedding else trained.name


def _figure(curves: Sequence[Curve]) -> Figure:
    sizes = sorted({curve.trained.params_non_embedding or 0 for curve in curves})
    colours = dict(zip(sizes, ranked(len(sizes)), strict=True))
    drawn_ends = _last_of_each_size(curves)
    low, high = _limits(curves)

    def paint(canvas: Canvas) -> None:
        axes, seeds = canvas.axes, sorted({curve.trained.seed or 0 for curve in curves})
        for curve in curves:
            colour = colours[curve.trained.params_non_embedding or 0].sentinel
            style = ("-", (0, (5, 1.6)), (0, (1.5, 1.4)))[seeds.index(curve.trained.seed or 0) % 3]
            axes.plot(curve.tokens, curve.losses, color=colour, linewidth=1.3, linestyle=style)
            axes.plot(
                *_columns(curve.validations),
                color=colour,
                linestyle="none",
                marker="o",
                markeredgecolor=colour,
            )
            for marker, at in (("|", curve.skipped), ("X", curve.rollbacks)):
                # At the foot: a skipped step often has no loss to stand at.
                axes.plot(at, [low] * len(at), color=ACCENT.sentinel, linestyle="none", marker=marker,
                          markersize=9, clip_on=False)  # fmt: skip
        first = min(curve.tokens[0] for curve in curves)
        last = max(curve.tokens[-1] for curve in curves)
        canvas.log_counts("x", max(first, last / 300), last * 1.02)
        axes.set_ylim(low, high)
        axes.set_xlabel("training tokens seen")
        axes.set_ylabel("loss, nats per token")
        label_ends(axes, _labels(drawn_ends, colours), 0.052 if canvas.is_narrow else 0.045)

    ended = ", ".join(
        f"{size_label(c.trained)} at {numbers.fixed(c.losses[-1])}" for c in drawn_ends.values()
    )
    marked = any(curve.skipped or curve.rollbacks for curve in curves)
    several = len({curve.trained.seed for curve in curves}) > 1
    return draw(
        "curves",
        paint,
        title="Training loss against tokens",
        description=f"Loss of {len(curves)} runs; the last values are {ended}.",
        caption="Training loss of every run against the tokens it has seen, averaged over stretches "
        "of steps; dots are validation losses. The numbers name the size in non-embedding parameters"
        + (", dashes the second and third seed" if several else "")
        + (". At the foot, strokes are skipped steps, crosses rollbacks" if marked else "")
        + ".",
    )


def _labels(ends: Mapping[int, Curve], colours: Mapping[int, Colour]) -> list[tuple[float, float, str, str]]:
    return [
        (curve.tokens[-1], curve.losses[-1], size_label(curve.trained), colours[size].sentinel)
        for size, curve in list(ends.items())[:LABELLED]
    ]


def _columns(pairs: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in pairs], [y for _, y in pairs]


def _limits(curves: Sequence[Curve]) -> tuple[float, float]:
    """Return the range of losses worth drawing: without the steep fall of the first steps."""
    low = min(min(curve.losses) for curve in curves)
    settled = [loss for curve in curves for loss in curve.losses[len(curve.losses) // 12 :]]
    high = max(settled)
    pad = 0.04 * (high - low) or 0.1
    return low - pad, high + pad


def _last_of_each_size(curves: Sequence[Curve]) -> dict[int, Curve]:
    lowest: dict[int, Curve] = {}
    for curve in curves:
        size = curve.trained.params_non_embedding or 0
        if size not in lowest or curve.losses[-1] < lowest[size].losses[-1]:
            lowest[size] = curve
    return lowest


def _ends(runs: Sequence[Trained]) -> Table:
    head = (
        "run", "non-embedding", "all parameters", "seed", "peak lr", "tokens", "training loss",
        "validation loss", "bits per byte", "tokens/s", "memory", "state",
    )  # fmt: skip
    return Table(head=head, rows=[_end(trained) for trained in runs])


def _end(trained: Trained) -> tuple[str, ...]:
    rows = trained.run.rows()
    step, validation = _last(rows, "loss"), _last(rows, "validation_loss")
    losses = curve_of(trained).losses  # of the last stretch: one step alone is mostly noise
    return (
        trained.name,
        numbers.count(trained.params_non_embedding),
        numbers.count(trained.params),
        str(numbers.MISSING if trained.seed is None else trained.seed),
        numbers.number(trained.lr, 3),
        numbers.count(step.get("tokens")),
        numbers.fixed(None if numbers.is_missing(step.get("loss")) else losses[-1]),
        numbers.measured(validation.get("validation_loss"), validation.get("validation_stderr")),
        numbers.fixed(validation.get("bits_per_byte")),
        numbers.count(_middle([row.get("tokens_per_second") for row in rows])),
        numbers.size(max((row["memory_bytes"] for row in rows if row.get("memory_bytes")), default=None)),
        "finished" if trained.run.finished else "unfinished",
    )


def _last(rows: Sequence[dict[str, Any]], key: str) -> dict[str, Any]:
    """Return the last row that was to have this value, whether or not the value is a number."""
    return next((row for row in reversed(rows) if key in row), {})


def _middle(values: Sequence[Any]) -> float | None:
    known = sorted(value for value in values if not numbers.is_missing(value))
    return known[len(known) // 2] if known else None
