"""Our figures as bars with their standard errors, and the paper's four models as circles beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipeline.formats.paper import SIZES
from pipeline.report import numbers
from pipeline.report.canvas import Canvas, Mark
from pipeline.report.evaluation import POINTS, Score, is_share
from pipeline.report.figure import Figure, draw
from pipeline.report.palette import ACCENT, INK, MUTED, PAPER, Colour, ranked

if TYPE_CHECKING:
    from pipeline.report.paper import Row

MEASURES = {
    "accuracy_stop_word_filter": "accuracy, stop-word filter",
    "accuracy_last_word": "accuracy, last word",
    "accuracy": "accuracy",
    "exact_match": "exact match",
    "f1": "F1",
    "rouge_1": "ROUGE-1",
    "rouge_2": "ROUGE-2",
    "rouge_l": "ROUGE-L",
    "rouge_average": "ROUGE, mean",
    "bleu": "BLEU",
    "word_perplexity": "perplexity per word",
    "perplexity": "perplexity",
}
"""How the names of metrics begin, and what people call them."""
MOST_BARS = 4
ROW, BAR, HEAD = 46, 11, 58  # pixels


def bars(found: Sequence[Row]) -> list[Figure]:
    """Return a figure for each unit: per cent and points, perplexity, bits; of rows with the paper's four."""
    kinds: list[tuple[str, str, Callable[[str], bool]]] = [
        ("shares", "per cent, and points of 100: more is better", _is_of_100),
        ("perplexities", "perplexity: less is better", lambda metric: "perplexity" in metric),
        ("bits", "bits: fewer are better", lambda metric: metric.startswith("bits_per")),
    ]
    drawn = []
    for name, label, belongs in kinds:
        if chosen := [
            row for row in found if belongs(row.metric) and row.published.figures.keys() >= {*SIZES}
        ]:
            drawn.append(_bars(f"paper-{name}", label, chosen))
    return drawn


def measure(metric: str) -> str:
    """Return a metric of the paper in words; what the title of its row says is left out."""
    base = next((base for base in MEASURES if metric.startswith(base)), metric)
    words = MEASURES.get(base, metric.replace("_", " "))
    return f"{words}, %" if is_share(metric) else words


def _is_of_100(metric: str) -> bool:
    return is_share(metric) or metric.startswith(POINTS)


def _bars(name: str, label: str, found: Sequence[Row]) -> Figure:
    models = _models(found)
    colours = dict(zip(models, [ACCENT] if len(models) == 1 else ranked(len(models)), strict=True))
    is_log = "perplexity" in found[0].metric

    def paint(canvas: Canvas) -> None:
        low, high = _limits(found, models, is_log)
        for place, row in enumerate(found):
            _paint_row(canvas, place, row, colours, low)
        axes = canvas.axes
        if is_log:
            canvas.log_counts("x", low, high)
        else:
            axes.set_xlim(low, high)
        axes.set_ylim(len(found) - 0.3, -0.75)
        axes.set_yticks([])
        axes.grid(False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(label)

    height = HEAD + (ROW + BAR * (len(models) - 1)) * len(found)
    return draw(
        name, paint, title=f"Ours and the paper's: {label}", description=_said(found, models),
        caption=_caption(models, is_log), heights=(height, height),
    )  # fmt: skip


def _paint_row(canvas: Canvas, place: int, row: Row, colours: dict[str, Colour], low: float) -> None:
    axes, thick = canvas.axes, 0.42 / max(1, len(colours))
    axes.text(
        0, place - 0.34, _label(row), va="bottom", color=INK.sentinel, fontsize=11,
        transform=axes.get_yaxis_transform(),
    )  # fmt: skip
    for number, (model, colour) in enumerate(colours.items()):
        if model in row.ours:
            y = place - 0.21 + thick * (number + 0.5)
            mark = _paint_ours(axes, row.ours[model], y, 0.8 * thick, colour.sentinel, low)
            canvas.marks.append(replace(mark, series=model, name=_label(row)))
    for number, size in enumerate(SIZES):
        at = _scale(row.metric) * row.published.figures[size]
        axes.plot(
            [at], [place], marker="o", markersize=5 + 1.5 * number, markerfacecolor=PAPER.sentinel,
            markeredgecolor=MUTED.sentinel, markeredgewidth=1.2,
        )  # fmt: skip
        canvas.marks.append(Mark(series=f"paper: {size}", name=_label(row), x=at))


def _paint_ours(axes: Any, score: Score, y: float, thick: float, colour: str, low: float) -> Mark:
    """Paint a bar, or where the axis has no zero a diamond, with a line of one standard error.

    Return what was painted, without a name.
    """
    if numbers.is_missing(score.value) or score.value is None:
        return Mark(series="")
    scale = _scale(score.metric)
    at = scale * score.value
    if low:
        axes.plot([at], [y], marker="D", markersize=7, color=colour, markeredgewidth=0)
    else:
        axes.barh(y, at, height=thick, color=colour, linewidth=0)
    if score.stderr is None:
        return Mark(series="", x=at)
    error = scale * score.stderr
    axes.plot([max(at - error, low), at + error], [y, y], color=INK.sentinel, linewidth=1.1)
    return Mark(series="", x=at, low=at - error, high=at + error)


def _label(row: Row) -> str:
    words = measure(row.metric).removesuffix(", %")
    return row.published.title if words == "accuracy" else f"{row.published.title}: {words}"


def _scale(metric: str) -> float:
    return 100 if is_share(metric) else 1


def _models(found: Sequence[Row]) -> list[str]:
    """Return the names of our models, smallest first; of many the largest."""
    sizes = {name: score.params or 0 for row in found for name, score in row.ours.items()}
    return sorted(sizes, key=lambda name: (sizes[name], name))[-MOST_BARS:]


def _limits(found: Sequence[Row], models: Sequence[str], is_log: bool) -> tuple[float, float]:
    values = [
        _scale(row.metric) * value
        for row in found
        for value in [
            *(row.published.figures.get(size) for size in SIZES),
            *(row.ours[model].value for model in models if model in row.ours),
        ]
        if value is not None and not numbers.is_missing(value)
    ]
    positive = [value for value in values if value > 0]
    if is_log and positive:
        return min(positive) / 1.5, max(positive) * 1.5
    return 0, 1.04 * max(values, default=1) or 1


def _said(found: Sequence[Row], models: Sequence[str]) -> str:
    parts = []
    for row in found:
        ours = ", ".join(
            f"{model} {numbers.number(_scale(row.metric) * (row.ours[model].value or 0))}"
            for model in models
            if model in row.ours
        )
        theirs = ", ".join(
            f"{size} {numbers.number(_scale(row.metric) * value)}"
            for size, value in row.published.figures.items()
        )
        parts.append(
            f"{row.published.title}, {row.metric.replace('_', ' ')}: ours {ours}; the paper's {theirs}"
        )
    return ". ".join(parts)


def _caption(models: Sequence[str], is_log: bool) -> str:
    whose = "our checkpoint" if len(models) == 1 else f"ours, from above: {', '.join(models)}"
    return (
        f"{'Diamonds' if is_log else 'Bars'} are {whose}, each with a line of one standard error to both "
        f"sides; circles are the paper's models, {SIZES[0]} the smallest circle and {SIZES[-1]} the largest."
    )
