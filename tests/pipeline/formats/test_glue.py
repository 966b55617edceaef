"""The average of GLUE: with all its tasks it is a number, else it says which are missing."""

import zipfile

import pytest

from pipeline.formats.glue import FILES, TASKS, averages, bundle, without
from pipeline.formats.paper_gpt1 import BEFORE, LSTM, NO_AUXILIARY, NO_PRETRAINING, OURS, figures
from pipeline.metrics import Estimate


def columns_of(row: str) -> dict:
    """Return Tables 2 and 4 (or 5) of the paper, which print one metric of each task, as figures."""
    names = {"validation": "{}", "validation_mismatched": "{}_mismatched"}
    found = {}
    for task, columns in TASKS.items():
        printed = {}
        for split, metric in columns:
            told = figures(task, names[split].format(metric)) or figures(task, columns[0][1])
            if row not in told:  # Table 5 has MNLI's mean alone
                told = figures(task, "accuracy_mean")
            printed[split, metric] = Estimate(told[row], 0.01, 100)
        found[task] = printed
    return found


@pytest.mark.parametrize("row", [OURS, NO_AUXILIARY, NO_PRETRAINING, LSTM])
def test_the_average_of_table_5_is_the_papers_on_the_papers_columns(row):
    _, of_table = averages(columns_of(row))

    assert of_table.value == pytest.approx(figures("glue", "average_table_5")[row], abs=0.001)
    assert of_table.paper[row] == figures("glue", "average_table_5")[row]


def test_glue_counts_each_task_once_by_the_mean_of_its_metrics():
    found = columns_of(OURS)
    found["mrpc"] = {
        ("validation", "f1"): Estimate(0.8, 0.02, 9),
        ("validation", "accuracy"): Estimate(0.6, 0.02, 9),
    }
    others = sum(
        estimate["validation", TASKS[task][0][1]].value
        for task, estimate in found.items()
        if task not in ("mrpc", "mnli")
    )

    whole, of_table = averages(found)

    assert whole.value == pytest.approx((others + 0.7 + (0.821 + 0.814) / 2) / 8)
    assert of_table.value == pytest.approx((others + 0.8 + (0.821 + 0.814) / 2) / 8)
    assert "WNLI" in whole.told and whole.paper[OURS] == 0.728 and whole.paper[BEFORE] == 0.689


def test_the_servers_average_of_the_paper_follows_from_its_rule_with_wnli():
    """The second metrics and WNLI, which the paper does not print, are those of GLUE's own table of then."""
    found = columns_of(OURS)
    second = {"mrpc": ("f1", 0.757), "stsb": ("pearson", 0.800), "qqp": ("f1", 0.885)}
    for task, (first, value) in second.items():
        other = next(metric for _, metric in TASKS[task] if metric != first)
        found[task]["validation", other] = Estimate(value, None, 1)

    whole, _ = averages(found)

    assert (8 * (whole.value or 0) + 0.534) / 9 == pytest.approx(0.728, abs=0.0006)
    assert whole.stderr is None


def test_what_is_missing_is_named_and_nothing_is_averaged():
    found = columns_of(OURS)
    del found["qnli"], found["mnli"]["validation_mismatched", "accuracy"]

    both = averages(found)

    assert [average.value for average in both] == [None, None]
    assert without(both) == "No GLUE average: mnli, qnli missing."
    assert averages({"snli": {}, "race": {}}) == () and without(()) == ""


def test_the_bundle_is_the_same_each_time_and_says_what_is_lacking(tmp_path):
    files = [tmp_path / name for name in (*FILES[1:-1], "dev-v1.1.json")]
    for number, path in enumerate(files):
        path.write_text(f"index\tprediction\n0\t{number}\n")

    lacking = bundle(files, tmp_path / "there" / "a.zip")
    bundle(reversed(files), tmp_path / "b.zip")

    assert lacking == ["AX.tsv", "WNLI.tsv"]
    with zipfile.ZipFile(tmp_path / "b.zip") as file:
        assert file.namelist() == list(FILES[1:-1])
        assert file.read("CoLA.tsv") == files[0].read_bytes()
    assert (tmp_path / "there" / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_nothing_is_written_where_there_are_no_predictions(tmp_path):
    assert bundle([], tmp_path / "a.zip") == list(FILES)
    assert not (tmp_path / "a.zip").exists()
