"""GLUE's average where its fine-tunings lie side by side, and in the table of a comparison."""

from pathlib import Path

from pipeline.formats import glue
from pipeline.formats.summary import Summary
from pipeline.report import comparison
from pipeline.report.glue import blocks
from pipeline.report.section import Note, Table
from tests.pipeline.report.tuned import figure


def tuned(folder: Path, task: str, value: float, lr: float = 1.0, weights: str = "w") -> Path:
    """Write the summary of a fine-tuning on a task of GLUE, which scores the same by all metrics."""
    figures = tuple(figure(value, value, metric=metric, split=split) for split, metric in glue.TASKS[task])
    inputs = {"weights": weights, "config": {"lr": lr, "dataset": {"kind": task}}}
    (folder / task).mkdir(parents=True)
    Summary(task=f"finetune/{task}", config_hash="", inputs=inputs, figures=figures).write(folder / task)
    return folder / task


def test_the_average_stands_in_the_report_of_each_when_all_lie_side_by_side(tmp_path):
    folders = [tuned(tmp_path, task, 0.4 + number / 20) for number, task in enumerate(glue.TASKS)]

    _, table = blocks(folders[3])

    assert isinstance(table, Table)
    assert [row[0] for row in table.rows][-3:] == ["rte: accuracy", "GLUE average", "average of Table 5"]
    assert table.rows[-2][1].startswith("57.5 ±") and table.rows[-2][2:] == ("72.8", "68.9")
    assert table.rows[2][1].count("/") == 1, "F1 and accuracy of MRPC"
    assert "with a ninth, WNLI" in table.caption


def test_those_of_other_networks_and_recipes_do_not_count(tmp_path):
    for task in glue.TASKS:
        tuned(tmp_path, task, 0.5, lr=2.0 if task == "rte" else 1.0, weights="v" if task == "qnli" else "w")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "summary.json").write_text("{")

    (note,) = blocks(tmp_path / "cola")

    assert isinstance(note, Note)
    assert note.text.startswith("No GLUE average: qnli, rte missing.")


def test_what_is_not_of_glue_or_not_finished_says_nothing(tmp_path):
    figures = (figure(0.5, metric="accuracy"),)
    (tmp_path / "race").mkdir()
    Summary(task="finetune/race", config_hash="", inputs={}, figures=figures).write(tmp_path / "race")

    assert blocks(tmp_path / "race") == blocks(tmp_path) == []


def test_a_comparison_with_all_of_glue_has_both_averages_beside_the_papers():
    average = {"name": "average", "value": 0.61, "stderr": 0.02}
    content = {
        "trials": ["a"], "datasets": ["cola"], "errors": "", "averages": {"a": [average]},
        "cells": [
            {"trial": "a", "dataset": "cola", "split": "validation", "main": True, "metric": "matthews",
             "median": 0.3, "error": None, "chance": 0.0, "told": None},
        ],
    }  # fmt: skip

    table = comparison.table(content)

    assert table.head[-1] == "GLUE average, %"
    assert table.rows[0][-1] == "61.0 ± 2.0" and table.rows[1][-1] == ""
    paper = {row[0]: row[-1] for row in table.rows}
    assert paper["paper: GPT-1"] == "72.8" and paper["paper: no pre-training"] == ""
