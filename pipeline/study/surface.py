"""Loss from parameters and tokens over all arms of a study: what each does, where they were varied apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.formats.publish import write_json
from pipeline.study import choice, form, weigh
from pipeline.study.caveats import TWINS, condition
from pipeline.study.collect import Point, as_points, values_of
from pipeline.study.fit import Fit
from pipeline.study.material import Material
from pipeline.study.regimes import BRANCHED
from pipeline.study.sentences import ABSCISSAE

FORMS = ("hoffmann", "overtraining")
FEWEST_EACH = 3  # different sizes, and different amounts of data


def surface(material: Material) -> dict[str, Any] | None:
    """Return the laws of both counts, the files of their fits and what to beware of.

    None where a study has one arm: nothing was varied apart. `form` is None where no law can be fitted, and
    `words` says why.
    """
    if len(material.plan.arms) < 2:
        return None
    points, count = material.of_regimes(), material.count
    why_not = {name: _why_not(name, points, material, count) for name in FORMS}
    fits = {name: _fit(name, points, count) for name, why in why_not.items() if not why}
    for name, fit in fits.items():
        write_json(material.folder / f"{name}.json", fit.as_json())
    misses = {name: _held_out(name, points, count) for name in fits}
    usable = [name for name, fit in fits.items() if fit.solution.converged]
    best = min(usable, key=lambda name: np.inf if (miss := misses[name]) is None else miss, default=None)
    told = {
        "fits": {name: f"{name}.json" for name in fits},
        "form": best,
        "count": count,
        "n": len(points),
        "sizes": len({(getattr(p, count), p.tokens) for p in points}),
        "held_out": misses,
        "why_not": {name: why for name, why in why_not.items() if why},
        **_exponents(fits[best] if best else None),
        "warnings": [*(fits[best].warnings if best else ()), *_beware(material, points)],
    }
    return told | {"words": _words(told, fits)}


def _why_not(name: str, points: Sequence[Point], material: Material, count: str) -> str:
    law, found = form.load(name), {(getattr(p, count), p.tokens) for p in points}
    if material.config.better != "lower" or not (values_of(points) > 0).all():
        return f"{material.metric} is no loss"
    if len(found) < law.fewest_sizes:
        return f"{len(found)} different pairs of size and data; it needs {law.fewest_sizes}"
    for what, values in (("sizes", {n for n, _ in found}), ("amounts of data", {d for _, d in found})):
        if len(values) < FEWEST_EACH:
            return f"{len(values)} different {what}; it needs {FEWEST_EACH}"
    together = float(np.corrcoef(np.log(np.array(sorted(found), dtype=float).T))[0, 1])
    if abs(together) > TWINS:
        return f"size and data move together (correlation {together:+.4f} of logarithms)"
    return ""


def _columns(name: str, count: str) -> tuple[str, ...]:
    return tuple(count if column == "params" else column for column in form.load(name).inputs)


def _fit(name: str, points: Sequence[Point], count: str) -> Fit:
    return choice.fitted(name, points, *_columns(name, count))


def _held_out(name: str, points: Sequence[Point], count: str) -> float | None:
    """Return how far the law of all cheaper points misses the costliest, as a share of it."""
    most = max(point.flops for point in points)
    below, held = ([p for p in points if (p.flops < most) == cheaper] for cheaper in (True, False))
    columns = _columns(name, count)
    if choice.why_impossible(name, below, *columns):
        return None
    solution = choice.fitted(name, below, *columns).solution
    predicted = solution.predict(as_points(held, *columns).inputs)
    return float(np.abs(predicted / values_of(held) - 1).mean())


def _exponents(fit: Fit | None) -> dict[str, Any]:
    """Return the compute-optimal exponents; those of `overtraining` are halves by the law itself."""
    if fit is None:
        return {"coefficients": {}, "exponents": {}, "intervals": {}, "condition": None}
    own = fit.solution.coefficients
    intervals = {name: list(fit.bounds[name]) for name in fit.solution.exponents if name not in own}
    return {
        "coefficients": own,
        "exponents": fit.solution.exponents,
        "intervals": intervals,
        "condition": condition(fit.solution),
    }


def _beware(material: Material, points: Sequence[Point]) -> list[str]:
    """Return what the points themselves, rather than the fit, make doubtful."""
    warnings = []
    repeated = [point.tokens / point.unique_tokens for point in points if point.tokens > point.unique_tokens]
    if repeated:
        warnings.append(
            f"{len(repeated)} of {len(points)} runs repeat their data, up to {max(repeated):.2f} times: "
            "the law counts a repeated token as a new one"
        )
    if any(arm.regime == BRANCHED for arm in material.plan.arms):
        warnings.append(
            "branches share a trunk: their points depend on each other, and their schedule differs"
        )
    if weigh.errors(points, material.count, "tokens") is None:
        warnings.append("all points count the same: their errors are not known")
    return warnings


def _words(told: Mapping[str, Any], fits: Mapping[str, Fit]) -> str:
    if not told["form"]:
        reasons = "; ".join(f"{name}: {why}" for name, why in told["why_not"].items())
        return f"No law of size and data together: {reasons or 'no search converged'}."
    where = f"{told['n']} runs, {told['sizes']} pairs of size and data"
    said = f"Over all arms ({where}) {told['form']} fits best"
    if len(fits) > 1:
        shares = ", ".join(
            f"{name} {miss:.2%}" for name, miss in told["held_out"].items() if miss is not None
        )
        said += f" (the costliest is missed by {shares})"
    if told["intervals"]:
        parts = []
        for name, what in (("a", ABSCISSAE[told["count"]]), ("b", "tokens")):
            low, high = told["intervals"][name]
            ends = "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"
            parts.append(f"{what} ~ C^{told['exponents'][name]:.2f}{ends}")
        said += f"; compute is best spent as {' and '.join(parts)}"
    return f"{said}. Condition number {told['condition']:.3g}."
