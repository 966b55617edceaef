"""The summary of a study as Markdown: the same sections as the page, its figures as files beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pipeline.report.figure import Figure
from pipeline.report.section import Block, Facts, Fold, Heading, Note, Points, Section, Table

SPECIAL = re.compile(r"([\\`*_\[\]<>#|~])")
AT_START = re.compile(r"^(\d*)([-+=.)])(?=[\s=-]|$)")  # of a paragraph, where these begin a list or a rule


def render(
    kind: str, headline: str, sentences: Sequence[str], sections: Sequence[Section], figures: str
) -> str:
    """Return the summary; `figures` is the folder of the drawings as the summary's links name it.

    All text is data of a study: what Markdown or HTML would take for its own is escaped.
    """
    parts = [f"# {escaped(kind)}: {escaped(headline)}", *map(escaped, sentences)]
    for section in sections:
        if section.blocks:
            parts += [f"## {escaped(section.title)}", *_blocks(section.blocks, figures)]
    return "\n\n".join(part for part in parts if part) + "\n"


def escaped(text: str) -> str:
    """Return text as Markdown that reads as it stands, in one line."""
    return AT_START.sub(r"\1\\\2", SPECIAL.sub(r"\\\1", " ".join(text.split())))


def _blocks(blocks: Sequence[Block], figures: str) -> Iterator[str]:
    for block in blocks:
        match block:
            case str():
                yield escaped(block)
            case Heading():
                yield f"### {escaped(block.text)}"
            case Points():
                yield "\n".join(f"- {escaped(line)}" for line in block.lines)
            case Facts():
                yield "\n".join(f"- {escaped(name)}: {escaped(value)}" for name, value in block.pairs)
            case Note():
                yield f"_{escaped(block.text)}_"
            case Table():
                yield _table(block)
                yield escaped(block.caption)
            case Figure():
                yield f"![{escaped(block.title)}]({figures}/{block.name}.svg)"
                yield f"{escaped(block.caption)} ([numbers]({figures}/{block.name}.csv))"
            case Fold():
                pass  # for those who read the page


def _table(table: Table) -> str:
    rule = ["---" if n < table.labels else "---:" for n in range(len(table.head))]
    rows = [[escaped(cell) for cell in row] for row in (table.head, *table.rows)]
    rows.insert(1, rule)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
