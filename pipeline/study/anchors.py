"""Published families by the same table as a study's own series: GPT-2, Cerebras-GPT and Pythia.

They say what "log-linear" has meant elsewhere, over how many decades and under which regime of tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np

from pipeline.formats import paper
from pipeline.study import merit
from pipeline.study.families import ACCURACIES, EXAMPLES, FAMILIES, LOSS, Family
from pipeline.study.series import Described, Series, described

GPT2_REGIME = "WebText, 40 GB at every size; steps not published"
OVERLAP = "overlap"


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """One metric of one published family, described as a study's own are; sizes are all parameters."""

    family: str
    metric: str
    regime: str
    source: str
    tokens: Sequence[float]  # of each size; empty where it was not published
    series: Series
    described: Described

    def as_json(self) -> dict[str, Any]:
        """Return it for verdict.json: what it is, then the fields of `Described`."""
        found = asdict(self.described) | {"slope_interval": list(self.described.slope_interval)}
        sizes, values = self.series.sizes.tolist(), self.series.values.tolist()
        return {
            "family": self.family,
            "metric": self.metric,
            "regime": self.regime,
            "source": self.source,
            "better": "higher" if self.series.higher_is_better else "lower",
            "chance": self.series.chance,
            "noise": self.series.noise,
            "sizes": sizes,
            "values": values,
            "tokens": [min(self.tokens), max(self.tokens)] if self.tokens else None,
            **found,
        }


def rows() -> list[dict[str, Any]]:
    """Return all anchors for verdict.json, family by family."""
    return [anchor.as_json() for anchor in anchors()]


@cache
def anchors() -> list[Anchor]:
    """Return every metric that a published family has at all its sizes."""
    return [*_gpt2(), *(anchor for family in FAMILIES for anchor in _of(family))]


def _gpt2() -> Iterator[Anchor]:
    sizes = list(paper.PARAMETERS.values())
    for (task, metric), published in paper.PAPER.items():
        if task != OVERLAP and published.figures.keys() >= paper.PARAMETERS.keys():
            values = [published.figures[label] for label in paper.SIZES]
            source = f"Radford et al. 2019, {published.where}"
            yield _anchor(
                "GPT-2", f"{task}.{metric}", GPT2_REGIME, source, _series(task, metric, sizes, values)
            )


def _of(family: Family) -> Iterator[Anchor]:
    sizes = [size.params for size in family.sizes]
    tokens = [size.tokens for size in family.sizes]
    columns: Mapping[str, list[float]] = {
        LOSS: [size.loss for size in family.sizes],
        **{name: [size.accuracies[n] for size in family.sizes] for n, name in enumerate(ACCURACIES)},
        "seven_tasks.accuracy": [float(np.mean(size.accuracies)) for size in family.sizes],
    }
    for name, values in columns.items():
        task, _, metric = name.partition(".")
        repeated = family.loss_noise * values[-1] if name == LOSS and family.loss_noise else None
        series = _series(task, metric, sizes, values, repeated)
        yield _anchor(family.name, name, family.regime, family.source, series, tokens)


def _anchor(
    family: str, metric: str, regime: str, source: str, series: Series, tokens: Sequence[float] = ()
) -> Anchor:
    return Anchor(
        family=family, metric=metric, regime=regime, source=source, tokens=tokens, series=series,
        described=described(series),
    )  # fmt: skip


def _series(
    task: str, metric: str, sizes: Sequence[float], values: Sequence[float], noise: float | None = None
) -> Series:
    name = f"{task}.{metric}"
    return Series(
        name=name,
        sizes=np.array(sizes, dtype=float),
        values=np.array(values, dtype=float),
        higher_is_better=merit.better(name) != "lower",
        noise=noise or _share_error(task, metric, values),
        chance=merit.chance(name),
    )


def _share_error(task: str, metric: str, values: Sequence[float]) -> float | None:
    """Return the binomial standard error of a share of right answers; None where it is no such share."""
    if task not in EXAMPLES or not metric.startswith(("accuracy", "exact_match")):
        return None
    middle = float(np.mean(values))
    return math.sqrt(middle * (1 - middle) / EXAMPLES[task])
