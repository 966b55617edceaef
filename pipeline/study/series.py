"""One metric against size: the line through it, how well it predicts the largest, and its shape in a word.

The table that says how log-linear a family of models is, for a study's own metrics and for published ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.study.fit import Fit, fit_points
from pipeline.study.form import Array, load
from pipeline.study.table import Points
from pipeline.study.weigh import inverse_squares

STRAIGHT, AT_CHANCE, TRENDLESS = "straight", "at chance", "no trend above the noise"
BENT = 0.1  # a line that misses the largest by this share of the whole range is called bent


@dataclass(frozen=True, kw_only=True)
class Series:
    """A metric at several sizes; noise, chance and ceiling in the metric's own unit where they are known."""

    name: str
    sizes: Array  # (n,), from small to large; several seeds of one size follow each other
    values: Array  # (n,)
    higher_is_better: bool
    noise: float | None = None  # standard error of one value
    chance: float | None = None
    ceiling: float | None = None
    errors: Array | None = None  # (n,), by which values are weighed

    @property
    def means(self) -> Array:
        """The mean of each size (sizes,), from small to large."""
        rung = np.unique(self.sizes, return_inverse=True)[1]
        return np.asarray(np.bincount(rung, weights=self.values) / np.bincount(rung))


@dataclass(frozen=True, kw_only=True)
class Described:
    """What a table of series says of one of them."""

    name: str
    decades: float
    slope: float  # per decade of size
    slope_interval: tuple[float | None, float | None]
    r2: float | None  # None where the values are all the same
    log_log_r2: float | None  # of the power law on logarithms; None where a value is not above zero
    steps: int
    wrong_steps: int  # from one size to the next, the metric got no better
    held_out_error: float  # predicted minus observed at the largest, from the line through the others
    held_out_relative: float | None  # the same by the power law, as a share of the observed value
    error_in_noise: float | None
    shape: str


def described(series: Series) -> Described:
    """Return the line, its held-out error at the largest size and the shape of 3 sizes or more."""
    line, power = _fits(series, "log-linear"), None
    if (series.values > 0).all():
        power = _fits(series, "power")
    gains = np.diff(series.means) * (1 if series.higher_is_better else -1)
    error = line[1].held_out[0].predicted - float(series.means[-1])
    return Described(
        name=series.name,
        decades=float(np.log10(series.sizes[-1] / series.sizes[0])),
        slope=line[0].solution.coefficients["b"],
        slope_interval=line[0].bounds["b"],
        r2=_r2(line[0], series.values),
        log_log_r2=_r2(power[0], np.log(series.values)) if power else None,
        steps=len(gains),
        wrong_steps=int(np.sum(gains <= 0)),
        held_out_error=error,
        held_out_relative=power[1].held_out[0].predicted / float(series.means[-1]) - 1 if power else None,
        error_in_noise=abs(error) / series.noise if series.noise else None,
        shape=shape(series, error),
    )


def shape(series: Series, error: float) -> str:
    """Return how a series runs, from what is known of its noise, chance and ceiling, and a line's `error`.

    `error` is predicted minus observed at the largest size. A metric at chance is not to be fitted.
    """
    sign = 1 if series.higher_is_better else -1
    doubt, means = 2 * (series.noise or 0.0), series.means
    if series.chance is not None:
        above = sign * (means - series.chance) > doubt
        if not above.any():
            return AT_CHANCE
        if not above[: len(above) // 2].any():
            return "thresholded: the smaller half is at chance"
    spanned = float(np.ptp(means))
    if spanned <= doubt:
        return TRENDLESS
    if series.ceiling is not None and (sign * (series.ceiling - means[-2:]) <= doubt).all():
        return "saturated: the largest two are at the ceiling"
    if abs(error) <= max(doubt, BENT * spanned):
        return STRAIGHT
    return (
        "saturating: a line promises too much"
        if sign * error > 0
        else "accelerating: a line promises too little"
    )


def markdown(rows: Sequence[Described]) -> str:
    """Return the table of several series as Markdown."""
    head = ("metric", "decades", "slope per decade", "R²", "log-log R²", "wrong steps",
            "error at the largest", "by a power law", "shape")  # fmt: skip
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        r2, log_log = ("" if one is None else f"{one:.3f}" for one in (row.r2, row.log_log_r2))
        relative = "" if row.held_out_relative is None else f"{row.held_out_relative:+.1%}"
        noises = "" if row.error_in_noise is None else f" ({row.error_in_noise:.1f} noise)"
        cells = (row.name, f"{row.decades:.2f}", f"{row.slope:+.4g}", r2, log_log,
                 f"{row.wrong_steps} of {row.steps}", f"{row.held_out_error:+.3g}{noises}", relative,
                 row.shape)  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _fits(series: Series, form: str) -> tuple[Fit, Fit]:
    """Return the law through all sizes, and the one through all but the largest."""
    law = load(form)
    points = Points(
        inputs=series.sizes[:, None],
        values=series.values,
        weights=None if series.errors is None else inverse_squares(series.errors, series.values, law.loss),
        names=tuple(f"{size:g}" for size in series.sizes),
    )
    largest = series.sizes == series.sizes.max()
    return fit_points(law, points), fit_points(law, points, held=largest)


def _r2(fit: Fit, values: Array) -> float | None:
    """Return the share of the variance of `values` (n,) that a fit explains, in the unit of its residuals."""
    residuals = fit.solution.problem.residuals(fit.solution.p)
    variance = float(np.sum((values - values.mean()) ** 2))
    return 1 - float(np.sum(residuals**2)) / variance if variance else None
