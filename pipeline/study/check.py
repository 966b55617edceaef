"""Whether the rule of the learning rate holds at the smallest and the largest size, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from pipeline.study.collect import Point, values_of
from pipeline.study.material import Material
from pipeline.study.measured import Noise
from pipeline.study.regimes import CHECK
from pipeline.study.sweep import best_rate

CERTAIN = 2.0  # times the noise of one run; what costs less cannot be told from luck


def checked(material: Material, scatter: Noise) -> dict[str, Any] | None:
    """Return the best rate of each size beside the rule's, and whether the rule holds; None without a check.

    `scatter` is the noise of one run of the main arm.
    """
    arms = [arm for arm in material.plan.arms if arm.regime == CHECK]
    if not arms:
        return None
    own = [point for arm in arms for point in material.of_arm(arm)]
    sizes = [_size(material, rung, mine, scatter) for rung, mine in material.by_rung(own).items()]
    told = [size["holds"] for size in sizes if size["holds"] is not None]
    holds = all(told) if told else None
    said = {True: "holds", False: "does not hold", None: "was not checked: no run has a value"}[holds]
    return {
        "metric": material.metric,
        "rule": _rule(material),
        "sizes": sizes,
        "holds": holds,
        "words": f"The rule of the learning rate {said}. {' '.join(size['words'] for size in sizes)}".strip(),
    }


def _rule(material: Material) -> str:
    rule = material.config.learning_rate
    return f"{rule.base:g} * (n_embd / {rule.base_width})^{rule.exponent:g}"


def _size(material: Material, rung: str, mine: Sequence[Point], scatter: Noise) -> dict[str, Any]:
    """Return what the rates of one size gave, those of the main arm's seeds among them that were checked."""
    seeds = {point.seed for point in mine}
    known = material.by_rung(material.of_arm(material.main)).get(rung, [])
    main = [point for point in known if point.seed in seeds]
    points = list({point.config_hash: point for point in [*mine, *main]}.values())
    width = int(material.run_of(mine[0]).train["model"]["n_embd"])
    sign = 1 if material.config.better == "higher" else -1
    best = best_rate(rung, width, points, sign)
    rate = main[0].lr if main else None
    cost = _cost(points, rate, sign)
    holds = _holds(cost, scatter)
    row = {
        **asdict(best),
        "params_non_embedding": mine[0].params_non_embedding,
        "rate": rate,
        "cost": cost,
        "cost_in_noise": cost / scatter.value if cost is not None and scatter.value else None,
        "holds": holds,
    }
    return row | {"words": _words(row)}


def _cost(points: Sequence[Point], rate: float | None, sign: int) -> float | None:
    """Return how much better than the rule's rate the best one of the grid is; zero where it is the best."""
    if rate is None:
        return None
    means = {lr: float(values_of([p for p in points if p.lr == lr]).mean()) for lr in {p.lr for p in points}}
    return float(sign * (means[max(means, key=lambda lr: sign * means[lr])] - means[rate]))


def _holds(cost: float | None, scatter: Noise) -> bool | None:
    if cost is None:
        return None
    return cost <= CERTAIN * (scatter.value or 0.0)


def _words(row: dict[str, Any]) -> str:
    if row["cost"] is None:
        return f"{row['rung']}: the rule's own run has no value."
    listed = ", ".join(
        f"{rate:.3g}: {mean:.4f}" for rate, mean in zip(row["rates"], row["means"], strict=True)
    )
    noises = "" if row["cost_in_noise"] is None else f", {row['cost_in_noise']:.1f} times the noise"
    edge = "; the best is at the edge of the grid and may lie beyond" if row["at_edge"] else ""
    best = row["rates"][int(np.argmin(np.abs(np.log(np.array(row["rates"]) / row["best"]))))]
    said = "is the best" if not row["cost"] else f"costs {row['cost']:.4f} against {best:.3g}{noises}"
    return f"{row['rung']} ({listed}): the rule's {row['rate']:.3g} {said}{edge}."
