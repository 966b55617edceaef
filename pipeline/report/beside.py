"""What stands beside a study's page: each figure as a file with its numbers, and a Markdown summary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.formats.publish import write_text
from pipeline.report import markdown
from pipeline.report.figure import Figure
from pipeline.report.section import Section

KINDS = ("study", "sweep", "comparison")
FIGURES, SUMMARY = "figures", "report.md"


def write(
    root: Path, kind: str, headline: str, sentences: Sequence[str], sections: Sequence[Section]
) -> None:
    """Write figures/NAME.svg and NAME.csv for every figure of the page, and the summary."""
    folder = root / FIGURES
    for figure in drawn(sections):
        folder.mkdir(exist_ok=True)
        write_text(folder / f"{figure.name}.svg", figure.alone)
        write_text(folder / f"{figure.name}.csv", figure.data)
    write_text(root / SUMMARY, markdown.render(kind, headline, sentences, sections, FIGURES))


def drawn(sections: Iterable[Section]) -> list[Figure]:
    """Return all figures of a page, in order."""
    return [figure for section in sections for figure in section.figures]
