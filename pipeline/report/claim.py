"""What the study says for the claim that capacity improves performance log-linearly, and what against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.report import numbers
from pipeline.report.evaluation import words
from pipeline.report.section import Block, Heading, Points, Section
from pipeline.report.sources import Sources

NAME, TITLE = "claim", "Does capacity improve performance log-linearly?"
MOST_NAMES = 6


def section(sources: Sources) -> Section:
    """Return the section; none before there is a verdict that weighs the claim."""
    study = sources.study
    if not study or study.found("speaks_for") is None:
        return Section(name=NAME, title=TITLE)
    found = study.verdict
    blocks: list[Block] = []
    for title, lines, nothing in (
        ("What speaks for it", found["speaks_for"], "Nothing that this study found."),
        ("What speaks against it", found["speaks_against"], "Nothing that this study found."),
    ):
        blocks += [Heading(title), Points([_told(line, found["series"]) for line in lines] or [nothing])]
    if lacking := missing(found["missing"]):
        blocks += [Heading("What is missing"), Points(lacking)]
    return Section(name=NAME, title=TITLE, blocks=blocks)


def missing(values: Sequence[Mapping[str, str]]) -> list[str]:
    """Return a sentence for each metric that some runs lack; what is missing is nowhere taken as zero."""
    runs: dict[str, list[str]] = {}
    for value in values:
        runs.setdefault(value["metric"], []).append(value["name"])
    return [f"{words(metric)}: no value of {_listed(names)}." for metric, names in runs.items()]


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def _told(line: str, series: Sequence[Mapping[str, str]]) -> str:
    """Return a sentence with the names of metrics as people read them, the longest name first."""
    for metric in sorted({row["metric"] for row in series}, key=len, reverse=True):
        line = line.replace(metric, words(metric))
    return numbers.typeset(line)
