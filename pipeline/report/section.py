"""What a section of a report is made of: blocks, or a template with values, or how to make what is missing.

Blocks are shown on the page and in its Markdown summary alike; a paragraph is a plain string.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pipeline.report.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows for reading: the first `labels` columns are words and stand left, the others stand right."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    labels: int = 1
    caption: str = ""
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    text: str
    kind: ClassVar[str] = "heading"


@dataclass(frozen=True)
class Points:
    """A list of sentences."""

    lines: Sequence[str]
    kind: ClassVar[str] = "points"


@dataclass(frozen=True)
class Facts:
    """Names and their values; or what happened and when, where they `are_times`."""

    pairs: Sequence[tuple[str, str]]
    are_times: bool = False
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Note:
    """What to know beside it, in small print."""

    text: str
    kind: ClassVar[str] = "note"


@dataclass(frozen=True)
class Fold:
    """What most readers do not need: folded away on the page, left out of the summary."""

    title: str
    blocks: Sequence[Block]
    kind: ClassVar[str] = "fold"


Block = str | Heading | Points | Facts | Note | Fold | Table | Figure


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of the page: its blocks, or a template with values and what of it the summary has as blocks.

    `remedy` is given instead where the files are not there. A section of a study that has nothing to say of
    it is not `wanted`: neither page nor summary shows it.
    """

    name: str
    title: str
    blocks: Sequence[Block] = ()
    template: str = "blocks.html.j2"
    values: Mapping[str, Any] = field(default_factory=dict)
    remedy: str = ""

    @property
    def wanted(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.blocks or self.values or self.remedy)

    @property
    def figures(self) -> list[Figure]:
        """Return its drawings, whatever they are part of."""
        return list(_figures([*self.blocks, *self.values.values()]))


def _figures(parts: Sequence[Any]) -> Iterator[Figure]:
    for part in parts:
        if isinstance(part, Figure):
            yield part
        elif isinstance(part, Fold):
            yield from _figures(part.blocks)
        elif isinstance(part, list | tuple):
            yield from _figures(part)
