"""Figures: their ids, colours, ticks and labels."""

from __future__ import annotations

import functools
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.canvas import Canvas, plain_ticks
from pipeline.report.figure import draw, spread_apart
from pipeline.report.palette import COLOURS, INK, ranked


@functools.cache
def painted(name: str = "one") -> str:
    def paint(canvas: Canvas) -> None:
        canvas.axes.plot([2e4, 1e6], [1, 2], "o-", color=INK.sentinel, label="<b>&")
        canvas.log_counts("x", 2e4, 1e6)
        canvas.axes.legend()

    figure = draw(name, paint, title="a < b", description='"all"', caption="")
    return figure.wide + figure.narrow


def test_a_figure_keeps_its_text_as_text_in_plain_numbers() -> None:
    assert ">100k</text>" in painted()
    assert ">1M</text>" in painted()
    assert "font-family" not in painted()
    assert "&lt;b&gt;&amp;" in painted()


def test_colours_of_a_figure_are_those_of_the_page() -> None:
    drawn = painted()

    assert "var(--ink)" in drawn
    assert not any(colour.sentinel in drawn for colour in COLOURS)
    assert "<style" not in drawn  # it would hold for the whole page


def test_two_figures_share_no_id() -> None:
    ids = [re.findall(r' id="([^"]+)"', painted(name)) for name in ("one", "two")]

    assert not set(ids[0]) & set(ids[1])
    assert len(ids[0]) == len(set(ids[0]))


def test_every_figure_has_a_title_and_a_description_for_those_who_do_not_see_it() -> None:
    assert '<title id="one-wide-title">a &lt; b</title>' in painted()
    assert 'aria-labelledby="one-narrow-title one-narrow-desc"' in painted()


@given(st.floats(1e-6, 1e9), st.floats(1.5, 1e6), st.integers(2, 9))
def test_ticks_are_few_and_inside(low: float, factor: float, most: int) -> None:
    ticks = plain_ticks(low, low * factor, most)

    assert len(ticks) <= most
    assert all(low <= tick <= low * factor for tick in ticks)
    assert ticks == sorted(ticks)


@given(st.lists(st.floats(-100, 100), max_size=8).map(sorted), st.floats(0.1, 5))
def test_labels_never_overlap_and_those_with_room_stay(values: list[float], gap: float) -> None:
    places = spread_apart(values, gap)

    assert len(places) == len(values)
    assert all(b - a > gap - 1e-9 for a, b in itertools.pairwise(places))
    if all(b - a >= gap for a, b in itertools.pairwise(values)):
        assert places == pytest.approx(values)


def test_sizes_get_colours_in_their_order() -> None:
    assert [colour.name for colour in ranked(3)] == ["rank-0", "rank-4", "rank-9"]
    assert len({colour.name for colour in ranked(8)}) == 8
    assert len(ranked(1)) == 1
