"""What speaks for "each tenfold adds the same", what speaks against it, and the summary of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.study import budgets, merit
from pipeline.study.series import AT_CHANCE, BENT, STRAIGHT, TRENDLESS

FAR = 2.0  # times the noise of one run
ENOUGH_DECADES = 1.5
MOST_NAMES = 3


def told(found: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the summary and the sentences for and against, from the other keys of verdict.json."""
    series = _once(found["series"])
    return {
        "summary": _summary(found, series),
        "speaks_for": [*_for_arms(found), *_for_series(series)],
        "speaks_against": [*_against_arms(found), *_against_series(series), *_doubts(found)],
    }


def _once(series: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return one series for each fact of an arm: another unit or a part of a score does not count again."""
    kept: dict[tuple[str, str], Mapping[str, Any]] = {}
    for row in series:
        kept.setdefault((row["arm"], merit.fact(row["metric"])), row)
    return list(kept.values())


def _summary(found: Mapping[str, Any], series: Sequence[Mapping[str, Any]]) -> list[str]:
    said = list(found["summary"])
    for arm in found["arms"]:
        if not arm["is_main"]:
            said += [f"Arm {arm['name']} ({arm['words']}): {line}" for line in arm["summary"]]
    said += [budgets.sentence(row) for row in found["frontier"]]
    if len(found["arms"]) > 1 and found["compute"]:
        said.append(found["compute"]["words"])
    said += [found[key]["words"] for key in ("surface", "check") if found[key]]
    said += [row["words"] for row in found["two_step"] if row["predicted"] is not None]
    said += [row["words"] for row in (found["target"] or {}).get("needed", [])]
    return [*said, *_series(series), *_missing(found["missing"])]


def _series(series: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return how many metrics run straight, where there is more than the study's own."""
    if len(series) < 2:
        return []
    shapes = [str(row["shape"]).partition(":")[0] for row in series]
    counted = ", ".join(f"{shapes.count(shape)} {shape}" for shape in dict.fromkeys(shapes))
    return [f"Of {len(series)} series of a metric along an arm: {counted}."]


def _missing(missing: Sequence[Mapping[str, str]]) -> list[str]:
    if not missing:
        return []
    by_metric: dict[str, list[str]] = {}
    for one in missing:
        by_metric.setdefault(one["metric"], []).append(one["name"])
    listed = "; ".join(f"{metric} of {_runs(names)}" for metric, names in by_metric.items())
    return [f"Missing and left out: {listed}."]


def _runs(names: Sequence[str]) -> str:
    """Return the names of a few runs, or how many they are."""
    return ", ".join(names) if len(names) <= MOST_NAMES else f"{len(names)} runs"


def _for_arms(found: Mapping[str, Any]) -> list[str]:
    said = []
    for arm in _ladders(found):
        said += [_of(arm, f"{one['name']}: {one['rule']}.") for one in arm["criteria"] if one["passed"]]
        said += [
            _of(arm, f"the points tell a line from another law: {pair['words']}.")
            for pair in _pairs(arm)
            if _is_line(pair)
        ]
    return said


def _against_arms(found: Mapping[str, Any]) -> list[str]:
    said = []
    for arm in _ladders(found):
        held = arm["held_out"]
        said += [_of(arm, f"not met: {one['rule']}.") for one in arm["criteria"] if not one["passed"]]
        said += [
            _of(arm, f"{pair['larger']} is no better than {pair['smaller']} ({pair['difference']:+.4f}).")
            for pair in arm["inversions"]
        ]
        if held and held["error_in_noise"] is not None and held["error_in_noise"] > FAR:
            missed = f"the largest was missed by {held['error_in_noise']:.1f} times the noise of one run."
            said.append(_of(arm, missed))
        said += [_of(arm, _apart(pair)) for pair in _pairs(arm) if not _is_line(pair)]
        if arm["decades"] < ENOUGH_DECADES:
            said.append(_of(arm, f"only {arm['decades']:.2f} decades of sizes to tell a law by."))
    return said


def _for_series(series: Sequence[Mapping[str, Any]]) -> list[str]:
    straight = [_name(row) for row in series if row["shape"] == STRAIGHT]
    rule = f"a line through the others meets the largest within {BENT:.0%} of the range, or within noise"
    return [f"Straight ({rule}): {', '.join(straight)}."] if straight else []


def _against_series(series: Sequence[Mapping[str, Any]]) -> list[str]:
    by_shape: dict[str, list[str]] = {}
    for row in series:
        if row["shape"] != STRAIGHT:
            by_shape.setdefault(row["shape"], []).append(_name(row))
    said = [f"{shape[0].upper()}{shape[1:]}: {', '.join(names)}." for shape, names in by_shape.items()]
    wrong = [row for row in series if row["wrong_steps"] and row["shape"] not in (AT_CHANCE, TRENDLESS)]
    if wrong:
        listed = ", ".join(f"{_name(row)} {row['wrong_steps']} of {row['steps']}" for row in wrong)
        said.append(f"Steps in which the larger is no better: {listed}.")
    return said


def _doubts(found: Mapping[str, Any]) -> list[str]:
    """Return what makes the whole less certain than its intervals say."""
    said = []
    if not found["noise"] or not found["noise"]["value"]:
        said.append("The noise of a run is not known: no seed was repeated.")
    if found["check"] and found["check"]["holds"] is False:
        said.append(found["check"]["words"])
    for arm in _ladders(found):
        if arm["epochs"][1] > 1:
            said.append(_of(arm, f"some runs saw their data up to {arm['epochs'][1]:.2f} times."))
    return [*said, *_missing(found["missing"])]


def _apart(pair: Mapping[str, Any]) -> str:
    if pair["told"]:
        return f"the points speak for another law: {pair['words']}."
    return f"{pair['better']} and {pair['other']}: {pair['words']}."


def _is_line(pair: Mapping[str, Any]) -> bool:
    return bool(pair["told"] and pair["better"] == "log-linear")


def _pairs(arm: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [pair for pair in (arm["apart"], arm["apart_offset"]) if pair]


def _ladders(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [arm for arm in found["arms"] if arm["is_ladder"]]


def _of(arm: Mapping[str, Any], said: str) -> str:
    """Return a sentence with the name of its arm, where arms have names."""
    return f"{arm['name']}: {said}" if arm["name"] else f"{said[0].upper()}{said[1:]}"


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['arm']} {row['metric']}".strip()
