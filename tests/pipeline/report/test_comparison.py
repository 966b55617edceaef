"""The report of a comparison: medians with errors, the paper's rows, differences, and chance as chance."""

import shutil

from pipeline.formats.publish import read_json, write_json
from pipeline.report import comparison, curves, page
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


def test_a_comparison_is_told_in_its_summary_too(tmp_path):
    tuned.comparison(tmp_path)

    page.write(tmp_path)

    text = (tmp_path / "report.md").read_text()
    assert "| full | 45.0 ± 3.1 | 45.0 ± 3.1 |" in text
    assert "(figures/trials.svg)" in text
    assert "none beside full: worse on cola (matthews −0.415 ± 0.044)" in text
    assert "Failed and tried again: x (1)." in text


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


def test_runs_of_one_size_are_told_apart_and_losses_of_other_objectives_not_compared(whole, tmp_path):
    write_json(tmp_path / "plan.json", {"finetunings": []})
    (run, *_) = sorted((whole / "study" / "runs").iterdir())
    for name, objective in (("left", "next_token"), ("both", "masked")):
        path = shutil.copytree(run, tmp_path / "runs" / name) / "config.yaml"
        path.write_text(f"{path.read_text()}objective: {objective}\n")

    figure = curves.section(find(tmp_path)).figures[0]

    assert "left at 2." in figure.description and "both at 2." in figure.description
    assert ">left</text>" in figure.wide and ">both</text>" in figure.wide
    assert "these cannot be compared" in figure.caption


def test_all_columns_of_the_papers_tables_stand_in_the_table():
    columns = [
        ("mnli", "validation", "accuracy", True), ("mnli", "validation", "loss", False),
        ("race", "validation", "accuracy", True), ("race", "validation", "accuracy_high", False),
        ("mnli", "validation_mismatched", "accuracy", False), ("mnli", "validation", "accuracy_mean", False),
        ("race", "test", "accuracy", False),
    ]  # fmt: skip
    cells = [
        {"trial": "a", "dataset": dataset, "split": split, "metric": metric, "main": main, "median": 0.5,
         "error": None, "chance": None, "told": None}
        for dataset, split, metric, main in columns
    ]  # fmt: skip

    table = comparison.table({"trials": ["a"], "datasets": ["race", "mnli"], "errors": "", "cells": cells})

    assert table.head[1:] == (
        "race: accuracy, %", "race: accuracy high, %", "race: accuracy, % (test)",
        "mnli: accuracy, %", "mnli: accuracy, % (mismatched)", "mnli: accuracy mean, %",
    )  # fmt: skip
    paper = {row[0]: row[1:] for row in table.rows}
    assert paper["paper: GPT-1"] == ("59.0", "57.4", "59.0", "82.1", "81.4", "81.8")
    assert paper["paper: no pre-training"] == ("", "", "", "", "", "75.7")
