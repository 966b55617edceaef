"""A study of many arms in the real formats: planted laws of bits, accuracies at and above chance, a gap."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from pipeline.formats.publish import write_json
from pipeline.study import collect
from tests.pipeline.study import planted

BUDGETS = (3e12, 1e13, 3e13, 1e14)


def write(folder: Path, **config: Any) -> dict[str, Any]:
    """Write plan, points, fits and verdict of a finished study, without its runs; return the verdict."""
    study = planted.plant(
        [
            planted.fixed(),
            planted.by_size(),
            planted.by_flops(BUDGETS, _around),
            planted.growing([500_000 * 2**n for n in range(6)]),
            planted.check(),
        ],
        planted.Metrics(
            law=surface,
            rate=lambda _, factor: 0.04 * math.log(factor) ** 2,
            others={
                "lambada.accuracy": lambda _, __, bits: _sigmoid(0.02, 0.5, 4, bits - 2.0),
                "lambada.bits_per_byte": lambda n, _, bits: 0.9 * bits + 0.01 * math.sin(n),
                "piqa.accuracy": lambda _, __, bits: _sigmoid(0.5, 0.25, 9, bits - 1.7),
                "arc_easy.accuracy": lambda _, __, bits: _sigmoid(0.25, 0.0, 1, bits),
                "overlap.shared_train": lambda *_: 0.01,
            },
        ),
        target={"value": 1.2},
        **config,
    ).without(lambda point: point.metric == "piqa.accuracy" and point.name.endswith("s1-x1"))
    fits = folder / "fits"
    write_json(folder / "plan.json", study.plan.as_json())
    collect.write(folder / "points.csv", study.points)
    verdict = study.judged(fits)
    write_json(folder / "verdict.json", {"written": "2026-01-01T12:09:00+00:00", "failures": {}, **verdict})
    return verdict


def surface(params: float, tokens: float) -> float:
    """Bits per byte: a loss with a floor, and terms of size and of data."""
    return 0.9 + 40 * params**-0.34 + 300 * tokens**-0.4


def _around(budget: float) -> list[int]:
    scale = (0.34 * 40 / (0.4 * 300)) ** (1 / 0.74)
    best = scale * (budget / 6) ** (0.4 / 0.74)
    return [round(best * 10 ** (i / 5)) for i in range(-4, 5)]


def _sigmoid(low: float, rise: float, slope: float, x: float) -> float:
    """Return a share that rises as x falls, with a scatter that differs from run to run."""
    return low + rise / (1 + math.exp(slope * x)) + 0.008 * math.sin(1e4 * x)
