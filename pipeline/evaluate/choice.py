"""Which of several choices a model means: the one that costs least."""

from __future__ import annotations

from collections.abc import Sequence


def hit(nats: Sequence[float], answer: int) -> float:
    """Return 1 if the answer's place costs least, a share of it if others cost as little, else 0.

    A share is what drawing among them would give on average; so a model that cannot tell has the chance
    score, wherever the answers stand.
    """
    least = [place for place, cost in enumerate(nats) if cost == min(nats)]
    return 1 / len(least) if answer in least else 0.0
