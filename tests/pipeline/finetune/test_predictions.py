"""Predictions as they are handed in."""

import json

import pytest

from pipeline.config import Kind
from pipeline.errors import ConfigError
from pipeline.finetune import predictions
from pipeline.finetune.dataset import Text
from pipeline.finetune.datasets import cola, mnli, rte, snli, squad, stsb
from pipeline.formats import glue

FOLDER = Kind("pipeline.finetune.datasets")


def texts(*ids: str) -> list[Text]:
    return [Text(text="x", id=id) for id in ids]


def test_entailment_is_spelled_out(tmp_path):
    path = predictions.write(tmp_path, rte.Config().build(), "test", texts("0", "1"), [1, 0])

    assert path == tmp_path / "RTE.tsv"
    assert path.read_text() == "index\tprediction\n0\tnot_entailment\n1\tentailment\n"


def test_other_classes_are_numbers(tmp_path):
    path = predictions.write(tmp_path, cola.Config().build(), "test", texts("0", "1"), [1, 0])

    assert path.read_text() == "index\tprediction\n0\t1\n1\t0\n"


def test_scores_stay_on_their_scale(tmp_path):
    path = predictions.write(
        tmp_path, stsb.Config().build(), "test", texts("0", "1", "2"), [-0.3, 2.34567, 7]
    )

    assert path.read_text() == "index\tprediction\n0\t0.000\n1\t2.346\n2\t5.000\n"


def test_both_test_sets_of_mnli_have_a_file(tmp_path):
    for split in ("test", "test_mismatched"):
        predictions.write(tmp_path, mnli.Config().build(), split, texts("0"), [2])

    assert sorted(path.name for path in tmp_path.iterdir()) == ["MNLI-m.tsv", "MNLI-mm.tsv"]


def test_answers_of_squad_go_by_the_question(tmp_path, published):
    found = squad.Config().build()
    examples = found.read("validation", published("squad")).examples

    path = predictions.write(tmp_path, found, "validation", examples, ["Zoë"])

    assert json.loads(path.read_text(encoding="utf-8")) == {examples[0].id: "Zoë"}


def test_nobody_takes_predictions_for_other_splits(tmp_path):
    with pytest.raises(ConfigError, match="snli: nobody takes predictions for test"):
        predictions.write(tmp_path, snli.Config().build(), "test", texts("0"), [0])
    with pytest.raises(ConfigError, match=r"rte: .* for validation \(splits taken: test\)"):
        predictions.write(tmp_path, rte.Config().build(), "validation", texts("0"), [0])


def test_predictions_must_be_one_for_each_of_the_ids(tmp_path):
    with pytest.raises(ValueError, match="1 predictions for 2 examples"):
        predictions.write(tmp_path, rte.Config().build(), "test", texts("0", "1"), [0])
    with pytest.raises(ValueError, match="1 ids name more than one example, as 0 does"):
        predictions.write(tmp_path, rte.Config().build(), "test", texts("0", "0"), [0, 1])
    assert not [*tmp_path.iterdir()]


def test_every_dataset_of_glue_has_its_files_but_those_that_the_paper_leaves_out():
    found = [file for name in FOLDER.names() for file in FOLDER.config(name)().build().submission.values()]

    assert set(glue.FILES) - set(found) == {"AX.tsv", "WNLI.tsv"}
