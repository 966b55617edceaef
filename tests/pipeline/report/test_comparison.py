"""The report of a comparison: medians with errors, the paper's rows, differences, and chance as chance."""

from pipeline.formats.publish import read_json, write_json
from pipeline.report import comparison, page
from pipeline.report.sources import find
from tests.pipeline.report import tuned


def test_a_comparison_has_its_table_figures_differences_and_words_on_one_page(tmp_path):
    tuned.comparison(tmp_path)

    text = page.write(tmp_path).read_text()

    assert "Comparison" in text
    assert "none beside full: worse on cola" in text
    assert "at chance" in text
    assert "paper: GPT-1" in text
    assert "trials-wide" in text
    assert "transferred-layers-wide" not in text
    assert "Failed and tried again: x (1)" in text


def test_trials_that_differ_by_their_layers_are_drawn_as_a_line_beside_the_papers(tmp_path):
    tuned.comparison(tmp_path, layers=True)

    text = page.render(find(tmp_path))

    assert "transferred-layers-wide" in text
    assert "trials-wide" not in text


def test_the_table_has_ours_then_guessing_then_the_paper(tmp_path):
    tuned.comparison(tmp_path)

    table = comparison.table(read_json(tmp_path / "comparison.json"))

    assert [row[0] for row in table.rows[:5]] == ["full", "none", "half", "guessing", "paper: GPT-1"]
    assert table.head[1:] == ("cola: matthews, %", "race: accuracy, %")
    assert table.rows[1][1] == "2.0 ± 3.1, at chance"
    assert table.rows[3][1:] == ("0.0", "25.0")
    assert table.rows[4][1:] == ("45.4", "59.0")


def test_one_that_is_not_finished_says_so(tmp_path):
    write_json(tmp_path / "plan.json", {"finetunings": []})

    text = page.render(find(tmp_path))

    assert "The study is not finished: there is no comparison yet." in text
