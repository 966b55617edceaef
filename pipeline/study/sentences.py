"""What was found along one abscissa, in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

ABSCISSAE = {
    "params": "parameters",
    "params_non_embedding": "non-embedding parameters",
    "flops": "training FLOPs",
    "tokens": "tokens",
}


def of_law(found: Mapping[str, Any]) -> list[str]:
    """Return what a law's finding says, from its keys in verdict.json."""
    said = [_range(found), *(_order(found) if len(found["sizes"]) > 1 else ()), _noise(found["noise"])]
    if line := found["line"]:
        said.append(
            f"The line gains {line['slope']:+.4f} per decade{interval(line['low'], line['high'])}, by "
            f"{line['method']}." + _by_seeds(line["seeds"])
        )
    if found["held_out"]:
        said.append(_prediction(found["held_out"], found["abscissa"]))
    if found["misses"]:
        said.append(_misses(found["misses"]))
    said += [f"{pair['words'][0].upper()}{pair['words'][1:]}." for pair in _apart(found)]
    return said


def of_rule(criteria: Sequence[Mapping[str, Any]], wrong: Sequence[Any]) -> list[str]:
    """Return what the rule set before training says of a ladder."""
    failed = [str(c["name"]) for c in criteria if not c["passed"]]
    if not failed:
        return ["By the rule set before training the study succeeded on every count."]
    said = [f"By the rule set before training the study failed on: {'; '.join(failed)}."]
    if not wrong:
        said.append("What the data do support is that larger is better, not the particular law.")
    return said


def interval(low: float | None, high: float | None) -> str:
    """Return an interval in parentheses, after a space, or nothing where it is not known."""
    return f" (95 % interval {low:.4f} to {high:.4f})" if low is not None and high is not None else ""


def between(low: float, high: float, digits: str = ",.0f") -> str:
    """Return one number where both ends are the same, else both."""
    return f"{low:{digits}}" if low == high else f"{low:{digits}} to {high:{digits}}"


def _range(found: Mapping[str, Any]) -> str:
    sizes, first, last = found["sizes"], found["sizes"][0], found["sizes"][-1]
    goes = f"{found['metric']} goes from {first['mean']:.4f} to {last['mean']:.4f}."
    if len(sizes) == 1:
        return f"1 size at {between(*found['tokens'])} tokens a run: {found['metric']} is {last['mean']:.4f}."
    if found["abscissa"] == "tokens":
        size = f"at {first['params_non_embedding']:,} non-embedding parameters"
        return f"{len(sizes)} amounts of data over {found['decades']:.2f} decades of tokens, {size}: {goes}"
    return (
        f"{len(sizes)} sizes over {found['decades']:.2f} decades of {ABSCISSAE[found['abscissa']]}, "
        f"{between(*found['tokens'])} tokens a run: {goes}"
    )


def _order(found: Mapping[str, Any]) -> list[str]:
    wrong, steps = found["inversions"], len(found["sizes"]) - 1
    what = "More data is better" if found["abscissa"] == "tokens" else "Larger is better"
    listed = ", ".join(f"{pair['smaller']} to {pair['larger']} ({pair['difference']:+.4f})" for pair in wrong)
    return [f"{what} in {steps - len(wrong)} of {steps} steps" + (f"; not from {listed}." if wrong else ".")]


def _noise(noise: Mapping[str, Any]) -> str:
    if not noise["value"]:
        return f"Noise: {noise['source']}."
    return f"Noise of one run: {noise['value']:.4f} ({noise['source']})."


def _by_seeds(seeds: Mapping[str, Any] | None) -> str:
    if not seeds:
        return ""
    return f" Drawing runs again moves it between {seeds['low']:+.4f} and {seeds['high']:+.4f}."


def _prediction(held: Mapping[str, Any], abscissa: str) -> str:
    when = "before it was trained" if held["predicted_before_training"] else "but not before it was trained"
    error = f"off by {held['error']:+.4f}"
    if held["error_in_noise"] is not None:
        error += f", {held['error_in_noise']:.1f} times the noise of one run"
    where = "inside" if held["inside_interval"] else "outside"
    ends = interval(held["low"], held["high"])
    what = "longest" if abscissa == "tokens" else "largest"
    return (
        f"The {what} was predicted by the {held['form']} law, {when}: "
        f"{held['predicted']:.4f}{ends}, observed {held['observed']:.4f}, {error}"
        + (f"; {where} the interval." if held["low"] is not None else ".")
    )


def _misses(misses: Mapping[str, float]) -> str:
    """Say how far each form misses all sizes; with so few a small difference decides nothing."""
    nearest = sorted(misses.items(), key=lambda item: item[1])
    listed = ", ".join(f"{name} {miss:.4f}" for name, miss in nearest)
    more = " (offset-power has one coefficient more)" if "offset-power" in misses else ""
    return f"Root mean square distance of the points: {listed}{more}."


def _apart(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [pair for pair in (found["apart"], found["apart_offset"]) if pair]
