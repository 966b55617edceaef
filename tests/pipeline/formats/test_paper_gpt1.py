"""The figures of GPT-1's paper agree with each other."""

import pytest

from pipeline.formats.paper_gpt1 import (
    BEFORE,
    LSTM,
    NO_AUXILIARY,
    NO_PRETRAINING,
    OURS,
    PAPER,
    TRANSFERRED_LAYERS,
    figures,
)

TABLE_5 = [
    ("cola", "matthews"),
    ("sst2", "accuracy"),
    ("mrpc", "f1"),
    ("stsb", "pearson"),
    ("qqp", "f1"),
    ("mnli", "accuracy_mean"),
    ("qnli", "accuracy"),
    ("rte", "accuracy"),
]


@pytest.mark.parametrize("row", [OURS, NO_AUXILIARY, NO_PRETRAINING, LSTM])
def test_the_averages_of_table_5_are_those_of_its_columns(row):
    average = sum(figures(*column)[row] for column in TABLE_5) / len(TABLE_5)

    # to a last digit: the columns are rounded, and the LSTM's 69.16 is printed as 69.1
    assert average == pytest.approx(figures("glue", "average_table_5")[row], abs=0.001)


def test_nine_of_twelve_were_the_best_there_had_been():
    # MNLI's two test sets are one of the twelve datasets, and so are RACE's two kinds of schools.
    better = {task for (task, _), told in PAPER.items() if told.get(BEFORE, 1) < told[OURS]} - {"glue"}
    worse = {task for (task, _), told in PAPER.items() if told.get(BEFORE, 0) > told[OURS]}

    assert len(better) == 9 and worse == {"rte", "sst2", "mrpc"}


def test_every_layer_has_its_point():
    assert {len(points) for points in TRANSFERRED_LAYERS.values()} == {2 + 12}
    assert all(points[0] < points[-1] < 1 for points in TRANSFERRED_LAYERS.values())


def test_what_the_paper_does_not_have_is_empty():
    assert figures("squad", "f1") == {} and BEFORE not in figures("mnli", "accuracy_mean")
