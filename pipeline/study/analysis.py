"""What a study's points say: every arm's law, every metric, the surface, the frontier, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.errors import StageError
from pipeline.study import accuracy, anchors, budgets, check, choice, claim, compute, law, reach, rule, survey
from pipeline.study import surface as surfaces
from pipeline.study.collect import Point
from pipeline.study.config import FEWEST_SIZES, Config
from pipeline.study.law import Question
from pipeline.study.material import Material
from pipeline.study.measured import Noise
from pipeline.study.plan import Plan, PlannedArm, PlannedRun
from pipeline.study.regimes import BRANCHED, BY_FLOPS, CHECK, GROWING
from pipeline.study.sentences import of_rule


def commit(
    points: Sequence[Point], plan: Plan, arm: PlannedArm, fits: Path, config: Config, *, is_untrained: bool
) -> dict[str, Any]:
    """Return an arm's choice of a law with the prediction of its largest size, made now unless it is on disk.

    `points` are all of points.csv; only those below the arm's largest size count. Raises StageError where
    they are of too few sizes, and names runs of the main arm that lack a value.
    """
    material = Material.of(points, plan, config, fits)
    below = material.below(material.of_arm(arm), arm)
    if arm == material.main:
        most = material.largest(arm).params_non_embedding
        _require([r for r in plan.of_arm(arm.name) if r.params_non_embedding < most], material)
    path = fits / f"{material.prefix(arm)}choice.json"
    return choice.commit(path, below, material.metric, material.target(arm, is_untrained))


def verdict(points: Sequence[Point], plan: Plan, fits: Path, config: Config) -> dict[str, Any]:
    """Return the content of verdict.json but for its time and failures, and write every fit into `fits`.

    `points` are all of points.csv. Raises StageError that names the runs of the main arm without a value of
    the study's own metric; whatever else is missing is left out and named.
    """
    material = Material.of(points, plan, config, fits)
    main_arm = material.main
    _require(plan.of_arm(main_arm.name), material)
    arms = [_arm(material, arm) for arm in plan.arms if material.of_arm(arm)]
    main = next(arm for arm in arms if arm["is_main"])
    series, surface = survey.rows(material), surfaces.surface(material)
    scatter = Noise(**main["noise"]) if main["noise"] else Noise(value=None, source="unknown")
    found = {
        **{key: value for key, value in main.items() if key not in {*asdict(main_arm), "is_main"}},
        "main": main_arm.name,
        "arms": arms,
        "series": series,
        "undirected": survey.undirected(material),
        "frontier": _frontier(material),
        "compute": compute.frontier(material),
        "surface": surface,
        "two_step": accuracy.rows(material, series),
        "target": reach.target(material, surface),
        "check": check.checked(material, scatter),
        "anchors": anchors.rows(),
        "missing": [{"name": name, "metric": metric} for name, metric in material.missing()],
    }
    return found | claim.told(found)


def _require(runs: Sequence[PlannedRun], material: Material) -> None:
    """Raise StageError that names the runs without a value of the study's own metric."""
    have = {point.config_hash for point in material.points if point.metric == material.metric}
    if lacking := [run.name for run in runs if run.config_hash not in have]:
        measured = ", ".join(material.metrics) or "no metrics at all"
        raise StageError(f"no value of {material.metric} from {', '.join(lacking)}; measured are {measured}")


def _arm(material: Material, arm: PlannedArm) -> dict[str, Any]:
    """Return what an arm says; it has at least one point."""
    begin = asdict(arm) | {"is_main": arm == material.main}
    points = material.of_arm(arm)
    if arm.is_ladder:
        return begin | _ladder(material, arm, points)
    nothing: dict[str, Any] = {
        "metric": material.metric,
        "better": material.config.better,
        "sizes": [],
        "noise": None,
        "inversions": [],
        "held_out": None,
        "criteria": [],
        "passed": None,
        "choice": None,
        "fits": {},
    }
    if arm.regime == BY_FLOPS:
        return begin | nothing | budgets.curves(points, material.question(arm))
    if arm.regime in (GROWING, BRANCHED):
        laws = _laws_of_data(material, arm, points)
        return begin | nothing | {"laws": laws, "summary": [line for one in laws for line in one["summary"]]}
    if arm.regime == CHECK:
        return begin | nothing | {"summary": []}
    return begin | nothing | law.found(points, material.question(arm), None, material.folder)


def _ladder(material: Material, arm: PlannedArm, points: Sequence[Point]) -> dict[str, Any]:
    """Return a ladder's law, the prediction of its largest size, and the rule of success."""
    below, chosen = material.below(points, arm), None
    if material.can_choose(below):
        path = material.folder / f"{material.prefix(arm)}choice.json"
        chosen = choice.commit(path, below, material.metric, material.target(arm))
    question = material.question(arm)
    found = law.found(points, question, chosen, material.folder)
    criteria = rule.criteria(
        material.plan.success,
        len(found["sizes"]),
        found["inversions"],
        found["line"],
        found["held_out"],
        question.better,
    )
    judged = {
        "choice": f"{material.prefix(arm)}choice.json" if chosen else None,
        "criteria": criteria,
        "passed": all(criterion["passed"] for criterion in criteria),
    }
    said = of_rule(criteria, found["inversions"]) if arm == material.main else []
    return found | judged | {"summary": [*found["summary"], *said]}


def _laws_of_data(material: Material, arm: PlannedArm, points: Sequence[Point]) -> list[dict[str, Any]]:
    """Return for each size of an arm of growing data the law in tokens."""
    laws = []
    for rung, own in material.by_rung(points).items():
        question = Question(
            metric=material.metric,
            better=material.config.better,
            abscissa="tokens",
            label=_tokens,
            prefix=f"{arm.name}-{rung}-",
        )
        laws.append({"rung": rung, **law.found(own, question, _longest(own, material), material.folder)})
    return laws


def _longest(points: Sequence[Point], material: Material) -> Mapping[str, Any] | None:
    """Return the prediction of the longest run from the shorter ones, made with all of them trained."""
    longest = max(points, key=lambda point: point.tokens)
    below = [point for point in points if point.tokens < longest.tokens]
    if len({point.tokens for point in below}) < FEWEST_SIZES - 1:
        return None
    target = choice.Target(
        rung=_tokens(longest), abscissa="tokens", size=float(longest.tokens), is_untrained=False
    )
    return choice.choose(below, material.metric, target)


def _tokens(point: Point) -> str:
    return f"{point.tokens:,} tokens"


def _frontier(material: Material) -> list[dict[str, Any]]:
    if material.config.better != "lower":
        return []  # a curve of equal FLOPs has a bottom; what has a top is no loss
    arms = [arm for arm in material.plan.arms if arm.regime == BY_FLOPS]
    return [row for arm in arms for row in budgets.frontiers(material.of_arm(arm), arm.name)]
