"""The study's pictures as SVG: the same bytes for the same numbers, readable on light and dark paper."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.formats.publish import write_bytes
from pipeline.formats.run import Run
from pipeline.study.fit import Fit
from pipeline.study.form import Array
from pipeline.study.intervals import band
from pipeline.study.plan import Plan

INK = "#7f7f7f"  # as far from white as from black
# Okabe and Ito's palette, which colour-blind readers tell apart; all are of middle lightness.
COLOURS = {"log-linear": "#0072b2", "power": "#d55e00", "offset-power": "#009e73"}
HELD_OUT = "#cc79a7"
DASHES = {"log-linear": "-", "power": "--", "offset-power": ":"}  # laws that agree lie on each other
RAMP = ("viridis", 0.25, 0.8)  # its ends vanish on black and on white
STYLE = {
    "svg.hashsalt": "loglinear",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.25,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.labelcolor": INK,
}

ABSCISSAE = {
    "params": "parameters",
    "params_non_embedding": "non-embedding parameters",
    "flops": "training FLOPs",
}


def ladder(
    folder: Path,
    plan: Plan,
    verdict: Mapping[str, Any],
    fits: Mapping[str, Fit],
    run_of: Callable[[str], Run],
) -> None:
    """Write value-by-size.svg and loss-by-tokens.svg."""
    save(folder / "value-by-size.svg", lambda axes: _value_by_size(axes, verdict, fits))
    save(folder / "loss-by-tokens.svg", lambda axes: _loss_by_tokens(axes, plan, run_of))


def sweep(folder: Path, verdict: Mapping[str, Any]) -> None:
    """Write value-by-rate.svg."""
    save(folder / "value-by-rate.svg", lambda axes: _value_by_rate(axes, verdict))


def _value_by_size(axes: Any, verdict: Mapping[str, Any], fits: Mapping[str, Fit]) -> None:
    some = next(iter(fits.values())).solution.problem.inputs[:, 0]
    line = np.geomspace(some.min() / 1.25, some.max() * 1.25, 200)[:, None]
    for name, fit in fits.items():
        axes.plot(
            line[:, 0],
            fit.solution.predict(line),
            color=COLOURS[name],
            label=f"{name}: {_formula(fit)}",
            lw=1.5,
            ls=DASHES[name],
        )
    chosen = fits[verdict["held_out"]["form"]]
    ends = band(chosen.solution, line, new_point=False)
    if ends:
        axes.fill_between(
            line[:, 0], *ends, color=COLOURS[chosen.form.name], alpha=0.15, lw=0, label="95 % interval"
        )
    _scatter(axes, fits["log-linear"])
    _held_out(axes, verdict["held_out"], float(some.max()))
    axes.set_xscale("log")
    axes.set_xlabel(ABSCISSAE[verdict["abscissa"]])
    axes.set_ylabel(_words(verdict["metric"]))
    axes.legend(fontsize=8)


def _scatter(axes: Any, fit: Fit) -> None:
    x, values = fit.solution.problem.inputs[:, 0], fit.solution.problem.values
    axes.plot(x, values, "o", color=INK, ms=4, alpha=0.8, label="runs (one for each seed)")
    means = [(size, values[x == size].mean()) for size in np.unique(x) if np.sum(x == size) > 1]
    if means:
        axes.plot(*zip(*means, strict=True), "_", color=INK, ms=14, mew=1.5, label="mean of the seeds")


def _held_out(axes: Any, held_out: Mapping[str, Any], x: float) -> None:
    predicted = held_out["predicted"]
    low, high = held_out["low"], held_out["high"]
    reach = None if low is None else [[predicted - low], [high - predicted]]
    axes.errorbar(
        [x],
        [predicted],
        yerr=reach,
        fmt="D",
        color=HELD_OUT,
        ms=5,
        capsize=4,
        mfc="none",
        label="prediction before training",
    )


def _loss_by_tokens(axes: Any, plan: Plan, run_of: Callable[[str], Run]) -> None:
    sizes = sorted({run.params_non_embedding for run in plan.runs})
    shades = dict(zip(sizes, _shades(len(sizes)), strict=True))
    labelled = set()
    for run in sorted(plan.runs, key=lambda run: run.params_non_embedding):
        rows = [row for row in run_of(run.name).rows() if row.get("loss") is not None]
        if not rows:
            continue
        tokens = np.array([row["tokens"] for row in rows], dtype=float)
        label = None if run.rung in labelled else f"{run.rung} ({run.params_non_embedding:,})"
        labelled.add(run.rung)
        loss = _smooth(np.array([row["loss"] for row in rows], dtype=float))
        axes.plot(tokens, loss, color=shades[run.params_non_embedding], lw=1.1, label=label)
    axes.set_xscale("log")
    axes.set_xlabel("training tokens")
    axes.set_ylabel("training loss, nats per token (smoothed)")
    if labelled:
        axes.legend(fontsize=8, title="size (non-embedding)", title_fontsize=8)


def _value_by_rate(axes: Any, verdict: Mapping[str, Any]) -> None:
    widths = verdict["widths"]
    shades = _shades(len(widths))
    for one, shade in zip(widths, shades, strict=True):
        axes.plot(
            one["rates"],
            one["means"],
            "o-",
            color=shade,
            ms=4,
            lw=1.2,
            label=f"{one['rung']} (width {one['width']})",
        )
        axes.axvline(one["best"], color=shade, lw=1, ls="--")
    axes.set_xscale("log")
    axes.set_xlabel("learning rate (dashed: best)")
    axes.set_ylabel(_words(verdict["metric"]))
    axes.legend(fontsize=8)


def _shades(count: int) -> Any:
    """Return colours (count, 4) from small to large."""
    from matplotlib import colormaps  # only who draws needs it

    name, first, last = RAMP
    return colormaps[name](np.linspace(first, last, count))


def _smooth(values: Array) -> Array:
    """Return an exponential mean that forgets in a twentieth of the curve, started without bias."""
    keep, total, weight, out = 1 - 1 / max(len(values) / 20, 1), 0.0, 0.0, np.empty_like(values)
    for i, value in enumerate(values):
        total, weight = keep * total + value, keep * weight + 1
        out[i] = total / weight
    return out


def _formula(fit: Fit) -> str:
    values = ", ".join(f"{name} = {value:.3g}" for name, value in fit.solution.coefficients.items())
    return f"{fit.form.formula}, {values}"


def _words(metric: str) -> str:
    task, _, name = metric.partition(".")
    return f"{name.replace('_', ' ')} ({task.replace('_', ' ')})"


def save(path: Path, draw: Callable[[Any], None]) -> None:
    """Write what is drawn on a pair of axes as SVG."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.4), layout="constrained")
        draw(figure.add_subplot())
        content = io.BytesIO()
        figure.savefig(content, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    write_bytes(path, content.getvalue())
