"""What a section of a report is made of: a template and its values, or how to make what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of the page. `remedy` is given instead of a template where the files are not there."""

    name: str
    title: str
    template: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows for reading: the first `labels` columns are words and stand left, the others stand right."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    labels: int = 1
    caption: str = ""
