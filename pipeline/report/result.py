"""The main result: score against size, the law, its interval, the point it had not seen, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report import numbers
from pipeline.report.evaluation import words
from pipeline.report.ladder import ladder_of, law_figure
from pipeline.report.section import Block, Fold, Heading, Points, Section, Table
from pipeline.report.sources import Sources
from pipeline.report.studied import Study

NAME, TITLE = "result", "Result"


def section(sources: Sources) -> Section:
    """Return the section, or how to carry out the study it needs."""
    study = sources.study
    ladder = ladder_of(study) if study else None
    if not study or not ladder or not ladder.below:
        remedy = (
            "no measured points of a study here; `loglinear study CONFIG` makes them, from where it stands"
        )
        return Section(name=NAME, title=TITLE, remedy=remedy)
    verdict = study.verdict or {}
    values = {
        "figure": law_figure(ladder, study.choice or {}),
        "summary": [said(line, ladder.metric) for line in _summary(study)],
        "passed": verdict.get("passed"),
        "criteria": [_criterion(criterion) for criterion in verdict.get("criteria", [])],
        "rungs": sizes_table(verdict),
        "directory": str(study.directory),
    }
    return Section(name=NAME, title=TITLE, template="result.html.j2", values=values, blocks=_blocks(values))


def said(line: str, metric: str) -> str:
    """Return a sentence of a verdict with its metric as people read it."""
    return numbers.typeset(line.replace(metric, words(metric)))


def sizes_table(found: Mapping[str, Any]) -> Table | None:
    """Return every size as it was measured, from a verdict or what it says of an arm."""
    if not found.get("sizes"):
        return None
    rows = [
        (
            size["rung"],
            numbers.count(size["params_non_embedding"]),
            numbers.count(size["params"]),
            numbers.count(size["tokens"]),
            ", ".join(numbers.fixed(value, 4) for value in size["values"]),
            numbers.fixed(size["mean"], 4),
            numbers.fixed(size["seed_sd"], 4) if len(size["values"]) > 1 else "one seed",
            numbers.fixed(size["stderr"], 4),
        )
        for size in found["sizes"]
    ]
    head = (
        "size", "non-embedding", "all parameters", "tokens", "each seed", "mean", "sd of seeds",
        "standard error",
    )  # fmt: skip
    return Table(head=head, rows=rows)


def _summary(study: Study) -> Sequence[str]:
    """Return what is said of the main arm; what is said of the rest stands in its own sections."""
    own: Sequence[str] | None = next((arm["summary"] for arm in study.arms if arm["is_main"]), None)
    return own or study.found("summary") or ()


def _criterion(criterion: Mapping[str, Any]) -> dict[str, Any]:
    value = criterion.get("value")
    shown = numbers.interval(value) if isinstance(value, list) else numbers.number(value, 3)
    return {
        "name": criterion["name"],
        "rule": criterion["rule"],
        "value": shown,
        "passed": criterion["passed"],
    }


def _blocks(values: Mapping[str, Any]) -> list[Block]:
    """Return what the summary has of it."""
    blocks: list[Block] = [values["figure"]]
    if values["criteria"]:
        met = "Success by the rule set before training"
        blocks.append(Heading(met if values["passed"] else f"No s{met[1:]}"))
        blocks.append(
            Points(
                [
                    f"{'met' if each['passed'] else 'not met'}: {each['name']}, measured {each['value']} "
                    f"({each['rule']})"
                    for each in values["criteria"]
                ]
            )
        )
    else:
        blocks.append("No verdict yet.")
    if values["summary"]:
        blocks += [Heading("What the data say"), Points(values["summary"])]
    return [*blocks, Fold("Every size as measured", [values["rungs"]])] if values["rungs"] else blocks
