"""The figures of lm-eval's tasks: values by its own functions, standard errors by ours.

Errors are closed where the figure is a mean or follows from one; of others, such as F1 over a whole set, they
are the spread over sets of documents drawn with replacement.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline.evaluate.task import Metric
from pipeline.metrics import Estimate, mean, perplexity, ratio

DRAWS = 100
"""Sets drawn for an error without a formula: as many as lm-eval takes for BLEU."""

Found = Mapping[tuple[str, str], Estimate]
"""Estimates by metric and by the filter that answers went through."""


def figures(
    members: Mapping[str, Any], groups: Sequence[Any], records: Sequence[dict[str, Any]]
) -> list[Metric]:
    """Return the figures of groups and of members, from the scores of records; several by their names."""
    found = {
        name: _estimates(member, [record for record in records if record["member"] == name])
        for name, member in members.items()
    }
    metrics = [metric for group in groups for metric in _of_group(group, found)]
    for name, estimates in found.items():
        metrics += _named("" if len(found) == 1 else f"{name}/", estimates)
    return metrics


def _estimates(member: Any, records: Sequence[dict[str, Any]]) -> Found:
    """Return the estimate of each metric and filter; documents without a score of it do not count."""
    from lm_eval.api.metrics import mean as plain_mean

    scores: dict[tuple[str, str], list[Any]] = {}
    for record in records:
        for name, values in record["scores"].items():
            for metric, value in values.items():
                scores.setdefault((metric, name), []).append(_item(value))
    ways = member.aggregation()
    return {key: _estimate(ways.get(key[0], plain_mean), items) for key, items in scores.items()}


def _estimate(way: Callable[[Sequence[Any]], Any], items: Sequence[Any]) -> Estimate:
    """Return the harness's figure, with an error of ours: closed where one is known."""
    from lm_eval.api import metrics as theirs

    if way is theirs.mean:
        found = mean(items)
    elif way is theirs.perplexity:
        found = perplexity(mean([-item for item in items]))
    elif way is theirs.weighted_perplexity:
        found = perplexity(_per_unit(items))
    elif way is theirs.bits_per_byte:
        loss = _per_unit(items)
        error = None if loss.stderr is None else loss.stderr / math.log(2)
        found = Estimate(loss.value / math.log(2), error, loss.num_examples)
    else:
        found = _resampled(way, items)
    return Estimate(float(way(items)), found.stderr, len(items))


def _resampled(way: Callable[[Sequence[Any]], Any], items: Sequence[Any]) -> Estimate:
    """Return a figure with its spread over draws of as many documents, the same at every call."""
    drawing = random.Random(0)
    drawn = [float(way(drawing.choices(items, k=len(items)))) for _ in range(DRAWS)]
    return Estimate(float(way(items)), statistics.stdev(drawn) if len(items) > 1 else None, len(items))


def _per_unit(items: Sequence[tuple[float, float]]) -> Estimate:
    return ratio([-likelihood for likelihood, _ in items], [units for _, units in items])


def _of_group(group: Any, found: Mapping[str, Found]) -> list[Metric]:
    """Return the figures of a group, as the harness takes them from those of its members."""
    values: dict[str, dict[str, Any]] = {}
    for name, estimates in found.items():
        values[name] = {"sample_len": max((e.num_examples for e in estimates.values()), default=0)}
        for (metric, way), estimate in estimates.items():
            error = "N/A" if estimate.stderr is None else estimate.stderr
            values[name] |= {f"{metric},{way}": estimate.value, f"{metric}_stderr,{way}": error}
    taken = group.aggregate(values)
    own: dict[tuple[str, str], Estimate] = {}
    for key, count in taken.get("sample_count", {}).items():
        metric, _, way = key.partition(",")
        error = taken[f"{metric}_stderr,{way}"]
        known = None if error == "N/A" else float(error)
        own[metric, way] = Estimate(float(taken[key]), known, count)
    return _named(f"{group.name}/", own)


def _named(place: str, estimates: Found) -> list[Metric]:
    """Return estimates by their metric, and by their filter too where there are several."""
    several = len({way for _, way in estimates}) > 1
    return [
        Metric(name=place + (f"{metric}_{way}".replace("-", "_") if several else metric), estimate=estimate)
        for (metric, way), estimate in estimates.items()
    ]


def _item(value: Any) -> Any:
    """Return a score as the harness gave it: what is a pair there became a list in the record."""
    if value is None:
        return math.nan
    return tuple(value) if isinstance(value, list) else value
