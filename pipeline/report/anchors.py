"""The same table for published families, as anchors outside the study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report import series
from pipeline.report.section import Block, Heading, Note, Section
from pipeline.report.sources import Sources

NAME, TITLE = "anchors", "Published families by the same table"


def section(sources: Sources) -> Section:
    """Return the section; none where the verdict has no anchors."""
    rows = sources.study.found("anchors") if sources.study else None
    if not rows:
        return Section(name=NAME, title=TITLE)
    blocks: list[Block] = [_said(rows)]
    for family in dict.fromkeys(row["family"] for row in rows):
        own = [row for row in rows if row["family"] == family]
        named = ", ".join(dict.fromkeys(row["regime"] for row in own))
        blocks += [Heading(f"{family}: {named}{_over(own)}"), series.table(own), Note(_sources(own))]
    return Section(name=NAME, title=TITLE, blocks=blocks)


def _over(rows: Sequence[Mapping[str, Any]]) -> str:
    return f"; {common}" if (common := series.span(rows)) else ""


def _said(rows: Sequence[Mapping[str, Any]]) -> str:
    straight = sum(row["shape"] == "straight" for row in rows)
    ordered = sum(row["wrong_steps"] == 0 for row in rows)
    return (
        f"Of {len(rows)} published series {ordered} gain at every step and {straight} are straight: a line "
        "through the smaller sizes meets the largest. Sizes are all parameters, embeddings included. The "
        "columns are those of the study's own metrics."
    )


def _sources(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return where a family's figures are from, each place once."""
    parts = [row["source"].partition(", ") for row in rows]
    places: dict[str, list[str]] = {}
    for work, _, place in parts:
        places.setdefault(work, []).extend(place.split("; "))
    return (
        "Figures of "
        + "; ".join(f"{work}: {'; '.join(dict.fromkeys(found))}" for work, found in places.items())
        + "."
    )
