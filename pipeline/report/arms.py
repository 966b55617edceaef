"""The arms of a study side by side, and each ladder but the main one as the main one is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.report import fits, numbers
from pipeline.report.ladder import ladder_of, law_figure
from pipeline.report.result import said, sizes_table
from pipeline.report.section import Block, Facts, Fold, Heading, Points, Section, Table
from pipeline.report.sources import Sources
from pipeline.report.studied import Study

NAME, TITLE = "arms", "The arms side by side"


def section(sources: Sources) -> Section:
    """Return the section; none where the study has but one arm."""
    study = sources.study
    if not study or len(study.arms) < 2:
        return Section(name=NAME, title=TITLE)
    blocks: list[Block] = [_regimes(study), _ladders(study)]
    for arm in study.ladders:
        if not arm["is_main"]:
            blocks += _ladder(study, sources, arm)
    return Section(name=NAME, title=TITLE, blocks=blocks)


def _regimes(study: Study) -> Table:
    rows = [
        (
            str(arm["name"]) + (" (main)" if arm["is_main"] else ""),
            arm["regime"],
            numbers.typeset(arm["words"]),
        )
        for arm in study.arms
    ]
    return Table(head=("arm", "regime", "tokens of a run"), rows=rows, labels=3)


def _ladders(study: Study) -> Table:
    rows = []
    for arm in study.ladders:
        line, held, steps = arm["line"] or {}, arm["held_out"] or {}, len(arm["sizes"]) - 1
        rows.append(
            (
                str(arm["name"]),
                numbers.count(steps + 1),
                numbers.fixed(arm["decades"], 2),
                _between(arm["tokens"]),
                _between(arm["tokens_per_parameter"]),
                numbers.estimate(line.get("slope"), (line.get("low"), line.get("high"))),
                f"{len(arm['inversions'])} of {steps}",
                numbers.fixed(held.get("error_in_noise"), 1),
            )
        )
    head = (
        "ladder", "sizes", "decades", "tokens", "tokens per parameter", "slope per decade (95 %)",
        "steps that gain nothing", "error at the largest, in noise",
    )  # fmt: skip
    return Table(head=head, rows=rows, caption="Parameters are counted without embeddings.")


def _ladder(study: Study, sources: Sources, arm: Mapping[str, Any]) -> list[Block]:
    ladder, choice = ladder_of(study, arm), study.choice_of(arm)
    blocks: list[Block] = [Heading(f"Arm {arm['name']}: {arm['words']}")]
    if ladder and ladder.all:
        blocks.append(law_figure(ladder, choice or {}, arm=str(arm["name"])))
    if held := fits.held_out(arm):
        blocks += [Facts(held), fits.order(fits.timeline(study, sources, arm))]
    blocks.append(Points([said(line, arm["metric"]) for line in arm["summary"]]))
    folded: list[Block] = [*fits.chosen(choice)] if choice else []
    if sizes := sizes_table(arm):
        folded.append(sizes)
    return [*blocks, Fold(f"Choice of the law, and every size of arm {arm['name']}", folded)]


def _between(ends: Any) -> str:
    """Return least and most, one number where they are the same."""
    if not ends:
        return ""
    low, high = (numbers.short(float(f"{end:.3g}")) for end in ends)
    return low if low == high else f"{low} to {high}"
