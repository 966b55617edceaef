"""Loss curves of runs: loss against tokens seen, and where each run ended."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.report import course, numbers
from pipeline.report.canvas import Canvas, Dash
from pipeline.report.figure import Figure, draw, label_ends
from pipeline.report.palette import ACCENT, Colour, ranked
from pipeline.report.section import Block, Facts, Fold, Note, Section, Table
from pipeline.report.sources import Sources, Trained

NAME, TITLE = "curves", "Loss curves"
MOST_POINTS = 40  # of a drawn curve: single steps are small and noisy, their means over a stretch are not
LABELLED = 12
MOST_ROWS = 24  # of the table of runs, before it is folded away


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

    @property
    def size(self) -> int:
        """Return the non-embedding parameters, 0 where they are not known."""
        return self.trained.params_non_embedding or 0


def section(sources: Sources) -> Section:
    """Return the section, or how to train what it needs."""
    runs = _main(sources)
    curves = [curve for trained in runs if (curve := curve_of(trained)).tokens]
    if not curves:
        verb = "train" if sources.kind == "run" else "study"
        return Section(
            name=NAME,
            title=TITLE,
            remedy=f"no finished step of any run here; `loglinear {verb} CONFIG` trains",
        )
    facts = course.facts(sources.runs[0]) if sources.kind == "run" else []
    blocks: list[Block] = [_figure(curves, by_run=sources.kind == "comparison")]
    if facts:
        blocks.append(Facts(facts))
    if len(runs) < len(sources.runs):
        assert sources.study is not None
        blocks.append(
            Note(f"Drawn are the runs of the main arm, {sources.study.main}; the table has all runs.")
        )
    ends = _ends(sources.runs)
    is_long = len(sources.runs) > MOST_ROWS
    blocks.append(Fold(f"All {len(sources.runs)} runs", [ends]) if is_long else ends)
    return Section(name=NAME, title=TITLE, blocks=blocks)


def _main(sources: Sources) -> Sequence[Trained]:
    """Return the runs of a study's main arm, where it has several and that one was trained here; else all."""
    names = sources.study.runs_of(sources.study.main) if sources.study else None
    chosen = [trained for trained in sources.runs if names is None or trained.name in names]
    return chosen or sources.runs


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


def _figure(curves: Sequence[Curve], *, by_run: bool = False) -> Figure:
    """Draw all curves, in a colour for each size, or `by_run` where runs differ in more than their size."""
    keys = [curve.trained.name if by_run else str(curve.size) for curve in curves]
    ordered = list(dict.fromkeys(keys)) if by_run else sorted(set(keys), key=int)
    colours = dict(zip(ordered, ranked(len(ordered)), strict=True))
    drawn_ends = _last_of_each_size(curves)
    low, high = _limits(curves)

    def paint(canvas: Canvas) -> None:
        axes, seeds = canvas.axes, sorted({curve.trained.seed or 0 for curve in curves})
        for key, curve in zip(keys, curves, strict=True):
            style = ("-", (0, (5, 1.6)), (0, (1.5, 1.4)))[seeds.index(curve.trained.seed or 0) % 3]
            _paint(canvas, curve, colours[key], style, low)
        first = min(curve.tokens[0] for curve in curves)
        last = max(curve.tokens[-1] for curve in curves)
        canvas.log_counts("x", max(first, last / 300), last * 1.02)
        axes.set_ylim(low, high)
        axes.set_xlabel("training tokens seen")
        axes.set_ylabel("loss, nats per token")
        if by_run:
            canvas.legend()
        else:
            label_ends(axes, _labels(drawn_ends, colours), 0.052 if canvas.is_narrow else 0.045)

    ends = curves if by_run else list(drawn_ends.values())
    named = [curve.trained.name if by_run else size_label(curve.trained) for curve in ends]
    ended = ", ".join(f"{name} at {numbers.fixed(c.losses[-1])}" for name, c in zip(named, ends, strict=True))
    return draw(
        "loss-by-tokens",
        paint,
        title="Training loss against tokens",
        description=f"Loss of {len(curves)} runs; the last values are {ended}.",
        caption=_caption(curves, by_run),
    )


def _paint(canvas: Canvas, curve: Curve, colour: Colour, dash: Dash, foot: float) -> None:
    name = curve.trained.name
    canvas.line(name, curve.tokens, curve.losses, colour, dash=dash, width=1.3)
    canvas.points(
        f"{name}, validation", *_columns(curve.validations), colour, size=4, is_filled=True, quiet=True
    )
    # At the foot: a skipped step often has no loss to stand at.
    for series, marker, at in (("skipped", "|", curve.skipped), ("rolled back", "X", curve.rollbacks)):
        canvas.points(f"{name}, {series}", at, [foot] * len(at), ACCENT, marker=marker, size=9, quiet=True)


def _caption(curves: Sequence[Curve], by_run: bool) -> str:
    said = (
        "Training loss of every run against the tokens it has seen, averaged over stretches of steps; dots "
        "are validation losses."
    )
    if not by_run:
        several = len({curve.trained.seed for curve in curves}) > 1
        dashes = ", dashes the second and third seed" if several else ""
        said += f" The numbers name the size in non-embedding parameters{dashes}."
    elif len({str(curve.trained.config.get("objective")) for curve in curves}) > 1:
        said += " Runs of other objectives have other losses: these cannot be compared."
    marked = any(curve.skipped or curve.rollbacks for curve in curves)
    return said + (" At the foot, strokes are skipped steps, crosses rollbacks." if marked else "")


def _labels(ends: Mapping[int, Curve], colours: Mapping[str, Colour]) -> list[tuple[float, float, str, str]]:
    return [
        (curve.tokens[-1], curve.losses[-1], size_label(curve.trained), colours[str(size)].sentinel)
        for size, curve in list(ends.items())[:LABELLED]
    ]


def _columns(pairs: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in pairs], [y for _, y in pairs]


def _limits(curves: Sequence[Curve]) -> tuple[float, float]:
    """Return the range of losses worth drawing: without the steep fall of the first steps."""
    settled = [loss for curve in curves for loss in curve.losses[len(curve.losses) // 12 :]]
    low = min([*settled, *(loss for curve in curves for _, loss in curve.validations)])
    high = max(settled)
    pad = 0.04 * (high - low) or 0.1
    return low - pad, high + pad


def _last_of_each_size(curves: Sequence[Curve]) -> dict[int, Curve]:
    lowest: dict[int, Curve] = {}
    for curve in curves:
        if curve.size not in lowest or curve.losses[-1] < lowest[curve.size].losses[-1]:
            lowest[curve.size] = curve
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
