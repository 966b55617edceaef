"""Studies whose truth is known: a plan of arms, and points that a planted law made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import validate
from pipeline.study import analysis
from pipeline.study.collect import Point
from pipeline.study.config import Config
from pipeline.study.material import Material
from pipeline.study.plan import Plan, PlannedArm, PlannedRun
from pipeline.study.regimes import BRANCHED, BY_FLOPS, BY_SIZE, CHECK, FIXED, GROWING

SIZES = tuple(round(12_000 * 100 ** (i / 6)) for i in range(7))
"""Seven sizes over two decades."""
DATA = 10**7
BITS = "held_out.bits_per_byte"

Law = Callable[[float, float], float]
"""A value from non-embedding parameters and tokens."""


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A plan and its points."""

    plan: Plan
    points: tuple[Point, ...]
    config: Config

    def without(self, unwanted: Callable[[Point], bool]) -> "Planted":
        return replace(self, points=tuple(point for point in self.points if not unwanted(point)))

    def material(self, folder: Path) -> Material:
        return Material.of(self.points, self.plan, self.config, folder)

    def commit(self, folder: Path) -> None:
        """Choose a law in each ladder from what lies below its largest size."""
        for arm in self.plan.arms:
            if arm.is_ladder:
                analysis.commit(self.points, self.plan, arm, folder, self.config, is_untrained=True)

    def judged(self, folder: Path) -> dict[str, Any]:
        self.commit(folder)
        return analysis.verdict(self.points, self.plan, folder, self.config)


@dataclass(frozen=True, kw_only=True)
class Planting:
    """An arm's cells: sizes with their tokens and seeds."""

    arm: PlannedArm
    cells: Sequence[tuple[int, int, Sequence[int]]]
    factors: Sequence[float] = (1.0,)


def fixed(tokens: int = 8_000_000, seeds: Sequence[int] = (0, 1), name: str = "fixed") -> Planting:
    arm = PlannedArm(name=name, regime=FIXED, words=f"{tokens:,} tokens at every size", is_ladder=True)
    return Planting(arm=arm, cells=[(size, tokens, seeds) for size in SIZES])


def by_size(ratio: int = 20, seeds: Sequence[int] = (0, 1)) -> Planting:
    words = f"{ratio} tokens for each non-embedding parameter"
    arm = PlannedArm(name="optimal", regime=BY_SIZE, words=words, is_ladder=True)
    return Planting(arm=arm, cells=[(size, ratio * size, seeds) for size in SIZES])


def by_flops(budgets: Sequence[float], sizes_of: Callable[[float], Sequence[int]]) -> Planting:
    arm = PlannedArm(name="isoflop", regime=BY_FLOPS, words="equal FLOPs", is_ladder=False)
    cells = [(size, round(budget / 6 / size), (0,)) for budget in budgets for size in sizes_of(budget)]
    return Planting(arm=arm, cells=cells)


def growing(counts: Sequence[int], regime: str = GROWING) -> Planting:
    name = "horizons" if regime == BRANCHED else "data"
    arm = PlannedArm(name=name, regime=regime, words="the same size at more tokens", is_ladder=False)
    return Planting(arm=arm, cells=[(SIZES[3], count, (0,)) for count in counts])


def check(factors: Sequence[float] = (0.5, 2.0)) -> Planting:
    arm = PlannedArm(name=CHECK, regime=CHECK, words="half and twice the rule's rate", is_ladder=False)
    cells = [(size, 8_000_000, (0,)) for size in (SIZES[0], SIZES[-1])]
    return Planting(arm=arm, cells=cells, factors=factors)


@dataclass(kw_only=True)
class Metrics:
    """What each run measures: the study's own metric by a law, others from size, tokens and that value."""

    law: Law
    noise: float = 0.005
    rate: Callable[[int, float], float] = lambda _size, _factor: 0.0
    others: dict[str, Callable[[float, float, float], float | None]] = field(default_factory=dict)


def plant(plantings: Sequence[Planting], metrics: Metrics, **config: Any) -> Planted:
    """Return the study that these arms make; scatter is the same for the same study."""
    generator = np.random.default_rng(0)
    runs = {run.config_hash: run for planting in plantings for run in _runs(planting)}
    points: list[Point] = []
    for run in runs.values():
        factor = run.lr / _rate(run.params_non_embedding)
        value = metrics.law(run.params_non_embedding, run.tokens) + metrics.rate(
            run.params_non_embedding, factor
        )
        value += metrics.noise * float(generator.standard_normal())
        points.append(_point(run, BITS, value))
        for metric, other in metrics.others.items():
            points.append(_point(run, metric, other(run.params_non_embedding, run.tokens, value)))
    plan = Plan(
        config_hash="", identity={}, data_hash="", created="", train_tokens=8_000_000, processes=2, threads=1,
        success={"ordered_fraction": 1.0}, measurements={}, runs=tuple(runs.values()),
        arms=tuple(planting.arm for planting in plantings),
    )  # fmt: skip
    return Planted(plan=plan, points=tuple(points), config=_config(config))


def _runs(planting: Planting) -> list[PlannedRun]:
    most = max(size for size, _, _ in planting.cells)
    return [
        _run(planting.arm, size, tokens, seed, factor, size == most and planting.arm.is_ladder)
        for size, tokens, seeds in planting.cells
        for seed in seeds
        for factor in planting.factors
    ]


def _run(arm: PlannedArm, size: int, tokens: int, seed: int, factor: float, is_largest: bool) -> PlannedRun:
    name = f"n{size}-{arm.name}-{tokens}-s{seed}-x{factor:g}"
    return PlannedRun(
        name=name, rung=f"n{size}", arm=arm.name, seed=seed, is_largest=is_largest,
        params=size + round(100 * size**0.5), params_non_embedding=size, lr=factor * _rate(size),
        tokens=tokens, unique_tokens=min(tokens, DATA), data_tokens=DATA, batch_tokens=64,
        flops=6.0 * size * tokens, estimated_seconds=None, config_hash=name,
        train={"model": {"n_embd": round(size**0.5)}},
        awaits=(arm.name,) if is_largest else (),
    )  # fmt: skip


def _rate(size: int) -> float:
    return float(f"{size**-0.3:.6g}")


def _point(run: PlannedRun, metric: str, value: float | None) -> Point:
    return Point(
        name=run.name, family="planted", arm=run.arm, params=run.params,
        params_non_embedding=run.params_non_embedding, tokens=run.tokens, unique_tokens=run.unique_tokens,
        flops=run.flops, batch_tokens=64, lr=run.lr, seed=run.seed, step=1, metric=metric, value=value,
        stderr=None, config_hash=run.config_hash,
    )  # fmt: skip


def _config(over: dict[str, Any]) -> Config:
    shape = {"n_layer": 2, "n_head": 2}
    values = {
        "out": "study", "data": "data",
        "train": {"model": {"n_ctx": 16, "vocab_size": 32}, "global_batch_tokens": 64},
        "evaluate": {"tasks": [{"kind": "held_out"}]},
        "rungs": [{"name": f"w{w}", "model": shape | {"n_embd": w}, "seeds": [0]} for w in (8, 16, 24, 32)],
        "learning_rate": {"base": 0.01, "base_width": 32, "exponent": -1.0},
        "tokens": {"count": 640}, "metric": BITS, **over,
    }  # fmt: skip
    return validate(Config, values, "planted")
