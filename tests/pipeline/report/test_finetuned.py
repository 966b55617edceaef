"""The report of a fine-tuning: figures beside the paper's, curves, confusion and mistakes."""

import re

import pytest

from pipeline.report import finetuned, mistakes, page
from pipeline.report.sources import find
from tests.pipeline.report.tuned import figure, finetuning


def test_a_fine_tuning_has_figures_curves_confusion_and_mistakes_on_one_page(tmp_path):
    folder = finetuning(tmp_path / "cola", 0.4, 0.5, 0.6)

    text = page.write(folder).read_text()

    assert "Fine-tuning" in text
    assert "the median of 3 seeds, where guessing gives 0" in text
    assert re.search(r"45\.4", text)
    assert "finetune-loss-wide" in text
    assert "finetune-validation-wide" in text
    assert "unacceptable" in text
    assert "3 of 3 seeds" in text
    assert "a | line" in text
    assert "No GLUE average: sst2, mrpc, stsb, qqp, mnli, qnli, rte missing." in text


def test_every_number_of_a_curve_is_in_its_table(tmp_path):
    folder = finetuning(tmp_path / "cola", 0.4, 0.5)

    scored = finetuned.curves(find(folder).runs)[1]

    assert "seed-1,,2.0,0.5,," in scored.data.splitlines()


def test_one_that_is_not_finished_says_so_and_shows_what_there_is(tmp_path):
    folder = finetuning(tmp_path / "cola", 0.4, finished=False)

    text = page.render(find(folder))

    assert "1 seed begun, not finished." in text
    assert "No summary yet" in text
    assert "finetune-loss-wide" in text


def test_texts_of_a_dataset_are_text_on_the_page(tmp_path):
    folder = finetuning(tmp_path / "cola", 0.4, text="<script>alert(1)</script>")

    text = page.render(find(folder))

    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_shares_and_correlations_stand_in_per_cent_as_in_the_paper():
    table = finetuned.table([vars(figure(0.454, 0.46, 0.5)), vars(figure(1.25, metric="loss"))])

    assert table.rows[0][:3] == ("validation, matthews, %", "46.0", "1.0")
    assert table.rows[1][:3] == ("validation, loss", "1.250", "one seed")


def test_a_confusion_table_counts_what_was_taken_for_what():
    records = [{"label": a, "prediction": b} for a, b in ((0, 0), (0, 1), (1, 1), (1, 1))]

    table = mistakes.confusion(records, ["no", "yes"])

    assert table is not None
    assert table.rows == [("no", "1", "1", "50.0\u00a0%"), ("yes", "0", "2", "100.0\u00a0%")]
    assert mistakes.confusion([{"label": None, "prediction": "words"}], []) is None


def test_scores_are_confused_by_the_whole_number_beside_them_and_wrong_if_a_step_away():
    records = [
        {"number": 0, "place": "x:1", "label": 3.2, "prediction": 3.4, "nats": 1.0},
        {"number": 1, "place": "x:2", "label": 0.0, "prediction": 2.6, "nats": 2.0},
    ]

    table = mistakes.confusion(records, [])
    assert table is not None
    assert table.rows[0] == ("0", "0", "1", "0.0\u00a0%")
    assert [one["number"] for one in mistakes.wrongest([records])] == [1]


@pytest.mark.parametrize("place", ["nowhere.tsv:3", "x", "hub, row 3", "/etc/passwd:1"])
def test_a_line_that_cannot_be_read_is_left_out(place):
    assert mistakes.text_at(place) == ""
