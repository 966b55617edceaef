"""Completion marks: what says that a phase is done, with which configuration and after which input.

A mark (`.phases/NAME.json`) is written last. It counts only if its identity is the planned one, the mark of
the phase before is still the one it was made after, and no input file is new or changed: whatever changes
upstream makes everything below it undone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.data.counts import PhaseCounts
from pipeline.errors import FormatError
from pipeline.formats.publish import write_json
from pipeline.formats.seal import read_sealed, sealed

FOLDER = ".phases"
_REMEDY = "remove it to run the phase again"


@dataclass(frozen=True, kw_only=True)
class Mark:
    """The record of a finished phase."""

    phase: str
    identity: str
    after: str
    inputs: dict[str, str]
    seconds: float
    counts: dict[str, Any]

    @property
    def account(self) -> PhaseCounts:
        """Return the phase's counts."""
        return PhaseCounts.from_json(self.counts)

    @property
    def row(self) -> dict[str, Any]:
        """Return the record as it stands in the manifest."""
        return {"name": self.phase, "seconds": self.seconds, **self.counts}

    def write(self, dataset: Path) -> None:
        """Say that the phase is done."""
        write_json(mark_path(dataset, self.phase), sealed(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Mark:
        """Return a mark; FormatError if it is damaged."""
        try:
            return cls(**read_sealed(path, _REMEDY))
        except TypeError as fault:
            raise FormatError(f"{path}: {fault}; {_REMEDY}") from None


def mark_path(dataset: Path, phase: str) -> Path:
    """Return where the mark of a phase lies."""
    return dataset / FOLDER / f"{phase}.json"


def fingerprint(dataset: Path, phase: str | None) -> str:
    """Return the hash of a phase's mark: empty before the first phase, and where there is no mark."""
    path = mark_path(dataset, phase) if phase else None
    content = path.read_bytes() if path and path.is_file() else b""
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def valid_marks(dataset: Path, expected: Iterable[tuple[str, str, Mapping[str, str]]]) -> list[Mark]:
    """Return the marks of the phases (name, identity, inputs) that are done, up to the first that is not."""
    marks: list[Mark] = []
    previous = None
    for phase, identity, inputs in expected:
        path = mark_path(dataset, phase)
        if not path.is_file():
            break
        mark = Mark.read(path)
        is_planned = mark.identity == identity and mark.after == fingerprint(dataset, previous)
        if not is_planned or not inputs.items() <= mark.inputs.items():
            break
        marks.append(mark)
        previous = phase
    return marks
