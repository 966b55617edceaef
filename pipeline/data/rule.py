"""A filter's rule as a datatrove block. Importing this imports datatrove, so kinds do it in `build`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from datatrove.pipeline.filters.base_filter import BaseFilter, get_filter_result

from pipeline.data.documents import TaskOutput

Judge = Callable[[Any], str | None]


class Rule(BaseFilter):  # type: ignore[misc]
    """Drop the documents for which `judge` returns a reason; it may also change a document that stays.

    What it counts in `sums` meanwhile is told in the account of the phase.
    """

    def __init__(self, name: str, judge: Judge, sums: Counter[str] | None = None):
        super().__init__()
        self.name = name
        self.sums = Counter() if sums is None else sums
        self._judge = judge

    def filter(self, doc: Any) -> bool | tuple[bool, str]:
        """Return whether the document stays, and if not, why."""
        reason = self._judge(doc)
        return True if reason is None else (False, reason)


class Guarded(BaseFilter):  # type: ignore[misc]
    """Any filter, ours or datatrove's, that a single bad document cannot stop; rejects go to the task's
    output.
    """

    def __init__(self, kind: str, inner: Any, output: TaskOutput):
        super().__init__()
        self.name = kind
        self._inner, self._output = inner, output

    def filter(self, doc: Any) -> bool | tuple[bool, str]:
        """Return the inner filter's verdict; a document that it fails on is dropped as `error`."""
        try:
            return self._inner.filter(doc)  # type: ignore[no-any-return]
        except Exception as fault:
            doc.metadata["detail"] = f"{type(fault).__name__}: {fault}"
            return False, "error"

    def run(self, data: Any, _rank: int = 0, _world_size: int = 1) -> Any:
        """Yield what stays; hand the rest to the task's output under `kind.reason`."""
        for document in data:
            stays, reason = get_filter_result(self.filter(document))
            if stays:
                yield document
            else:
                self._output.drop(document, f"{self.name}.{reason or 'dropped'}")
        for what, number in getattr(self._inner, "sums", {}).items():
            self._output.sums[f"{self.name}.{what}"] += number
