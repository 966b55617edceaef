"""The Markdown summary: every kind of block, and text that stays text."""

from __future__ import annotations

import pytest

from pipeline.report.figure import draw
from pipeline.report.markdown import escaped, render
from pipeline.report.section import Facts, Fold, Heading, Note, Points, Section, Table


def test_every_kind_of_block_is_told_and_what_is_folded_is_left_out() -> None:
    figure = draw("one", lambda _: None, title="A title", description="", caption="A caption.")
    table = Table(head=("law", "error"), rows=[("power", "1 | 2")], caption="Below.")
    section = Section(
        name="x",
        title="Laws",
        blocks=[
            "Said.", Heading("More"), Points(["one", "two"]), Facts([("size", "7")]), Note("Small."), table,
            figure, Fold("Hidden", ["not told"]),
        ],
    )  # fmt: skip

    assert render("Study", "x", ["First."], [section], "figures") == (
        "# Study: x\n\nFirst.\n\n## Laws\n\nSaid.\n\n### More\n\n- one\n- two\n\n- size: 7\n\n_Small._\n\n"
        "| law | error |\n| --- | ---: |\n| power | 1 \\| 2 |\n\nBelow.\n\n"
        "![A title](figures/one.svg)\n\nA caption. ([numbers](figures/one.csv))\n"
    )


def test_a_section_that_only_says_what_is_missing_is_left_out() -> None:
    assert (
        render("Study", "x", [], [Section(name="y", title="Y", remedy="make it")], "figures")
        == "# Study: x\n"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# no heading", "\\# no heading"),
        ("- no item", "\\- no item"),
        ("1. no item", "1\\. no item"),
        ("--- no rule", "\\--- no rule"),
        ("0.5 is a number", "0.5 is a number"),
        ("-0.31 too", "-0.31 too"),
        ("[a](b) <i>", "\\[a\\](b) \\<i\\>"),
        ("two\n\nlines", "two lines"),
    ],
)
def test_text_of_a_study_is_no_markdown(text: str, said: str) -> None:
    assert escaped(text) == said
