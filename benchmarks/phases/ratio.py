"""What a side-by-side timing comes to: ours against the bare loop or the peer, measured in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """Two times for the same work; a ratio of 2 says that ours takes half the peer's time."""

    name: str
    ours_seconds: float
    peer_seconds: float
    goal: float
    note: str = ""

    @property
    def ratio(self) -> float:
        """Return our throughput as a multiple of the peer's."""
        return self.peer_seconds / self.ours_seconds

    def __str__(self) -> str:
        verdict = "met" if self.ratio >= self.goal else "MISSED"
        times = f"ours {self.ours_seconds:8.2f} s  peer {self.peer_seconds:8.2f} s"
        return (
            f"{self.name:<34} {times}  ratio {self.ratio:6.2f}  goal {self.goal:4.2f} {verdict}  {self.note}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the row as it stands in the results file."""
        return {**asdict(self), "ratio": self.ratio}


def alternate(ours: Callable[[], object], peer: Callable[[], object], rounds: int = 3) -> tuple[float, float]:
    """Return the least seconds of each, taken in turns so that a busy machine is as busy for both."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for seconds, work in zip(times, (ours, peer), strict=True):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
    return min(times[0]), min(times[1])
