"""What one phase took in, gave out and dropped: the numbers every phase must balance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import StageError


@dataclass(frozen=True, kw_only=True)
class PhaseCounts:
    """The account of one phase: `documents_in == documents_out + sum(dropped)`, or something was lost.

    "Documents" are whatever the phase handles: lines of a dump for `links`, links for `fetch`, pages and
    texts afterwards. An input that could not be read is dropped too, under a reason that says so. `extra`
    carries what the datasheet tells besides (bytes, histograms, samples); it must be JSON.
    """

    documents_in: int
    documents_out: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def check(self, phase: str) -> None:
        """Raise StageError unless every input is accounted for."""
        accounted = self.documents_out + sum(self.dropped.values())
        if self.documents_in != accounted:
            raise StageError(
                f"{phase}: {self.documents_in} came in, but {self.documents_out} kept and "
                f"{sum(self.dropped.values())} dropped make {accounted}; a file of this phase is damaged: "
                f"remove the phase's folder below .phases and run the same command again"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the account as it stands in a completion mark and in the manifest."""
        return {
            "documents_in": self.documents_in,
            "documents_out": self.documents_out,
            "dropped": dict(sorted(self.dropped.items())),
            "extra": dict(self.extra),
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> PhaseCounts:
        """Return the account that `to_json` wrote."""
        return cls(
            documents_in=row["documents_in"],
            documents_out=row["documents_out"],
            dropped=row["dropped"],
            extra=row["extra"],
        )
