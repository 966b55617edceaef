"""The learning-rate rule and the sweep that supports it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report import numbers
from pipeline.report.canvas import Canvas
from pipeline.report.evaluation import words
from pipeline.report.figure import Figure, draw
from pipeline.report.palette import ranked
from pipeline.report.section import Block, Fold, Heading, Note, Points, Section, Table
from pipeline.report.sources import Sources

NAME, TITLE = "rates", "Learning rates"
UNSUPPORTED = (
    "The sweep that supports it is not part of this directory; `loglinear study` with `arms` of other rates "
    "in its configuration makes one, and so does `check`."
)


def section(sources: Sources) -> Section:
    """Return the section, or how to make the sweep it needs."""
    rule = sources.study.identity.get("learning_rate") if sources.study else None
    verdict = sources.sweep.verdict if sources.sweep else None
    check = sources.study.found("check") if sources.study else None
    if not rule and not verdict and not check:
        remedy = (
            "no sweep of learning rates here; `loglinear study` with `arms` in its configuration makes one"
        )
        return Section(name=NAME, title=TITLE, remedy=remedy)
    blocks: list[Block] = []
    if rule:
        blocks += [f"The peak learning rate of the ladder's runs is {rule_words(rule)}.", *_support(rule)]
    if check:
        assert sources.study is not None
        blocks += _checked(check, sources.study.found("metric"), sources.study.found("better"))
    if verdict:
        assert sources.sweep is not None
        better = sources.sweep.identity.get("better")
        blocks += [
            _figure(verdict["widths"], verdict["metric"], better, "value-by-rate"),
            Points([numbers.typeset(line) for line in verdict.get("summary", [])]),
            Fold("Every rate that was tried", [_table(verdict["widths"])]),
        ]
    elif not check:
        blocks.append(Note(UNSUPPORTED))
    return Section(name=NAME, title=TITLE, blocks=blocks)


def _support(rule: Mapping[str, Any]) -> list[Block]:
    """Return where the rule is from, as far as the configuration says."""
    return [f"{key.capitalize()}: {rule[key]}." for key in ("source", "evidence") if rule.get(key)]


def _checked(check: Mapping[str, Any], metric: str, better: str | None) -> list[Block]:
    """Return the check of the rule: where the best rate of the ends lies, and what the rule costs."""
    outcome = {True: "The rule holds", False: "The rule does not hold"}.get(check["holds"], "Cannot be said")
    sizes = [one for one in check["sizes"] if one["rates"]]
    blocks: list[Block] = [Heading(f"The rule checked: {outcome[0].lower()}{outcome[1:]}"), check["words"]]
    if sizes:
        blocks.append(_figure(sizes, metric, better, "rule-of-rates"))
    rows = [
        (
            one["rung"],
            numbers.count(one["params_non_embedding"]),
            numbers.number(one["rate"], 3),
            numbers.number(one["best"], 3) + (" (edge of the grid)" if one["at_edge"] else ""),
            numbers.signed(one["cost"]),
            numbers.fixed(one["cost_in_noise"], 1),
            {True: "holds", False: "does not hold"}.get(one["holds"], "cannot be said"),
        )
        for one in check["sizes"]
    ]
    head = (
        "size", "non-embedding", "rate of the rule", "best rate", "cost of the rule", "in noise", "the rule",
    )  # fmt: skip
    return [*blocks, Table(head=head, rows=rows, caption=check["rule"])]


def _size(one: Mapping[str, Any]) -> str:
    """Return how a swept size is called: by its width where that is told."""
    return f"width {one['width']}" if "width" in one else str(one["rung"])


def rule_words(rule: Mapping[str, Any]) -> str:
    """Return the rule by which a study sets the peak learning rate of a width."""
    base, exponent = numbers.number(rule["base"], 3), numbers.number(float(rule["exponent"]), 3)
    return f"{base} · (width / {rule['base_width']})^({exponent})"


def _table(widths: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        (
            str(one["rung"]),
            numbers.count(one["width"]),
            ", ".join(f"{numbers.number(rate, 3)}: {numbers.fixed(mean)}" for rate, mean in _pairs(one)),
            numbers.number(one["best"], 3) + (" (edge of the grid)" if one["at_edge"] else ""),
        )
        for one in widths
    ]
    return Table(head=("size", "width", "rate: score, mean of seeds", "best rate"), rows=rows)


def _figure(widths: Sequence[Mapping[str, Any]], metric: str, better: str | None, name: str) -> Figure:
    """Draw how far each rate stays behind its size's best: sizes score too far apart for one axis."""
    best = max if better == "higher" else min

    def paint(canvas: Canvas) -> None:
        for one, colour in zip(widths, ranked(len(widths)), strict=True):
            pairs = [(rate, mean) for rate, mean in _pairs(one) if not numbers.is_missing(mean)]
            if not pairs:
                continue
            top = best(mean for _, mean in pairs)
            xs, ys = [rate for rate, _ in pairs], [abs(mean - top) for _, mean in pairs]
            names = [f"scored {mean!r}" for _, mean in pairs]
            canvas.line(_size(one), xs, ys, colour, width=1.3)
            canvas.points(_size(one), xs, ys, colour, names=names, is_filled=True, quiet=True)
            if not numbers.is_missing(one["best"]):
                canvas.upright(f"{_size(one)}, best rate", one["best"], colour)
        rates = [rate for one in widths for rate in one["rates"]]
        canvas.log_counts("x", min(rates) / 1.3, max(rates) * 1.3)
        canvas.axes.set_xlabel("peak learning rate, logarithmic")
        canvas.axes.set_ylabel(f"{words(metric)} behind the best")
        canvas.legend()

    said = "; ".join(f"{_size(one)}: best rate {numbers.number(one['best'], 3)}" for one in widths)
    return draw(
        name,
        paint,
        title="What each learning rate costs",
        description=said,
        caption=f"How far each peak learning rate stays behind the best one tried of its size, in "
        f"{words(metric)}; dotted lines mark the best rates, by a parabola through the best one and its "
        "neighbours.",
        heights=(340, 310),
    )


def _pairs(one: Mapping[str, Any]) -> list[tuple[float, float]]:
    return list(zip(one["rates"], one["means"], strict=True))
