"""What an analysis starts from: the points of a study that have a value, by arm and metric, and its plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.study import merit
from pipeline.study.choice import Target
from pipeline.study.collect import Point
from pipeline.study.config import FEWEST_SIZES, Config
from pipeline.study.law import Question
from pipeline.study.merit import Better
from pipeline.study.plan import Plan, PlannedArm, PlannedRun
from pipeline.study.regimes import CHECK, RATES


@dataclass(frozen=True, kw_only=True)
class Material:
    """The points with a value, of all metrics and arms, and what was asked of them."""

    plan: Plan
    config: Config
    points: tuple[Point, ...]
    folder: Path
    """Where the fits lie."""

    @staticmethod
    def of(points: Sequence[Point], plan: Plan, config: Config, folder: Path) -> Material:
        """Return the points that belong to the plan and have a value."""
        planned = {run.config_hash for run in plan.points}
        kept = tuple(p for p in points if p.config_hash in planned and p.value is not None)
        return Material(plan=plan, config=config, points=kept, folder=folder)

    def run_of(self, point: Point) -> PlannedRun:
        """Return the run that a point is a result of."""
        return next(run for run in self.plan.points if run.config_hash == point.config_hash)

    @property
    def metric(self) -> str:
        """The metric the study is judged by."""
        return self.config.metric

    @property
    def metrics(self) -> list[str]:
        """Every metric that any run has a value of."""
        return sorted({point.metric for point in self.points})

    @property
    def main(self) -> PlannedArm:
        """The arm that the study is judged by: the first, if it is a ladder, else the first that is."""
        return next((arm for arm in self.plan.arms if arm.is_ladder), self.plan.arms[0])

    @property
    def ladders(self) -> list[PlannedArm]:
        """The arms of one rule of tokens, of which every size can be held against the others."""
        return [arm for arm in self.plan.arms if arm.is_ladder]

    def by_rung(self, points: Sequence[Point]) -> dict[str, list[Point]]:
        """Return points by the name of their size, in the order in which sizes come."""
        groups: dict[str, list[Point]] = {}
        for point in points:
            groups.setdefault(self.run_of(point).rung, []).append(point)
        return groups

    def of_arm(self, arm: PlannedArm, metric: str | None = None) -> list[Point]:
        """Return an arm's points of a metric, by default the study's own."""
        runs = {run.config_hash for run in self.plan.of_arm(arm.name)}
        return [p for p in self.points if p.metric == (metric or self.metric) and p.config_hash in runs]

    def of_regimes(self) -> list[Point]:
        """Return the points of the study's own metric over all arms that vary nothing but size or data."""
        arms = {arm.name for arm in self.plan.arms if arm.regime not in (RATES, CHECK)}
        runs = {run.config_hash for run in self.plan.points if arms & {*run.arms}}
        return [p for p in self.points if p.metric == self.metric and p.config_hash in runs]

    @property
    def count(self) -> str:
        """Which parameters are counted where a law has both size and data."""
        return "params" if self.config.abscissa == "params" else "params_non_embedding"

    def missing(self) -> list[tuple[str, str]]:
        """Return each run and metric of which there is no value, though other runs have one."""
        have = {(point.config_hash, point.metric) for point in self.points}
        metrics = sorted({self.metric, *self.metrics})
        return [
            (run.name, metric)
            for metric in metrics
            for run in self.plan.points
            if (run.config_hash, metric) not in have
        ]

    def better(self, metric: str) -> Better | None:
        """Return which way a metric is better; None where nothing says so."""
        return self.config.better if metric == self.metric else merit.better(metric)

    def question(self, arm: PlannedArm, metric: str | None = None) -> Question:
        """Return what is asked of a ladder's points along the study's abscissa."""
        asked = metric or self.metric
        return Question(
            metric=asked,
            better=self.better(asked) or "lower",
            abscissa=self.config.abscissa,
            label=lambda point: self.run_of(point).rung,
            prefix=self.prefix(arm),
        )

    def prefix(self, arm: PlannedArm) -> str:
        """Return how the names of an arm's files begin; those of the main one have none."""
        return "" if arm == self.main else f"{arm.name}-"

    def largest(self, arm: PlannedArm) -> PlannedRun:
        """Return a run of an arm's largest size."""
        return max(self.plan.of_arm(arm.name), key=lambda run: run.params_non_embedding)

    def below(self, points: Sequence[Point], arm: PlannedArm) -> list[Point]:
        """Return the points below an arm's largest size."""
        most = self.largest(arm).params_non_embedding
        return [point for point in points if point.params_non_embedding < most]

    def target(self, arm: PlannedArm, is_untrained: bool = False) -> Target:
        """Return the size that an arm predicts."""
        largest = self.largest(arm)
        return Target(
            rung=largest.rung,
            abscissa=self.config.abscissa,
            size=float(getattr(largest, self.config.abscissa)),
            is_untrained=is_untrained,
        )

    def can_choose(self, points: Sequence[Point]) -> bool:
        """Whether points below a largest size are of enough sizes to choose a law by."""
        return len({getattr(point, self.config.abscissa) for point in points}) >= FEWEST_SIZES - 1
