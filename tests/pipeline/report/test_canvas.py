"""What is drawn is kept: the numbers of every mark, and none where nothing is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.report.canvas import Canvas
from pipeline.report.figure import draw
from pipeline.report.palette import ACCENT, INK

MARKS: dict[str, tuple[Callable[[Canvas], None], list[str]]] = {
    "line": (lambda c: c.line("law", [1, 2], [3, 4], INK), ["law,,1.0,3.0,,", "law,,2.0,4.0,,"]),
    "points": (lambda c: c.points("run", [1], [2], INK, names=["a, b"]), ['run,"a, b",1.0,2.0,,']),
    "band": (
        lambda c: c.band("95 %", [1, 2], [0, 1], [2, 3], INK),
        ["95 %,,1.0,,0.0,2.0", "95 %,,2.0,,1.0,3.0"],
    ),
    "reach": (lambda c: c.reach("bar", 1, 2, 1.5, 2.5, ACCENT), ["bar,,1.0,2.0,1.5,2.5"]),
    "open reach": (lambda c: c.reach("bar", 1, 2, None, 2.5, ACCENT), ["bar,,1.0,2.0,,"]),
    "level": (lambda c: c.level("chance", 0.25), ["chance,,,0.25,,"]),
    "upright": (lambda c: c.upright("best", 0.01, INK), ["best,,0.01,,,"]),
    "lying": (lambda c: c.lying("full", "cola", 1, 40.0, 0.3, INK, error=2.0), ["full,cola,40.0,,38.0,42.0"]),
    "without error": (
        lambda c: c.lying("full", "cola", 1, 40.0, 0.3, INK, error=None),
        ["full,cola,40.0,,,"],
    ),
    "nothing": (lambda c: c.line("law", [], [], INK), []),
}


@pytest.mark.parametrize("kind", MARKS)
def test_every_number_drawn_is_in_the_table(kind: str) -> None:
    paint, rows = MARKS[kind]

    figure = draw("one", paint, title="", description="", caption="")

    assert figure.data.splitlines() == ["series,name,x,y,low,high", *rows]


def test_flops_are_written_as_powers_of_ten() -> None:
    figure = draw("one", lambda c: c.log_powers("x", 1e12, 1e15), title="", description="", caption="")

    assert "10¹⁴" in figure.wide.replace("\u00a0", " ")
