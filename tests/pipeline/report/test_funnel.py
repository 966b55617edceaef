import pytest

from pipeline.report.funnel import _figure

LONG = "x" * 400


@pytest.mark.parametrize(("name", "reason"), [(LONG, "short"), ("filter", LONG)])
def test_a_name_or_a_reason_of_any_length_leaves_the_figure_its_room(name: str, reason: str) -> None:
    phase = {"name": name, "documents_in": 10, "documents_out": 7, "dropped": {reason: 3}}

    drawn = _figure([phase])  # matplotlib warns, which is an error here, where nothing is left for the bars

    assert "…" in drawn.wide
