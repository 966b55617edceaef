"""What is told of a split: how many examples, of how many published, how many rows left out and why."""

import dataclasses
import json
import subprocess
import sys

import pytest

from pipeline.config import Kind
from pipeline.errors import ConfigError, FormatError
from pipeline.finetune.dataset import Choice, Dataset, LeftOut, Pair, Span, Text
from pipeline.finetune.datasets import cola, mrpc, qqp, race, rte, snli, squad, sst2, stsb
from pipeline.formats.source import MissingSet
from tests.pipeline.finetune.published import FILES, tsv

FOLDER = Kind("pipeline.finetune.datasets")


def test_a_split_tells_how_many_were_published(published):
    rows = rte.Config().build().read("train", published("rte"))

    assert rows.told == "rte train: 2 examples (2,490 were published)"
    assert rows.left_out == {} and len(rows.sha256) == 64


def test_pairs_without_agreement_are_left_out_by_rule_and_counted(published):
    rows = snli.Config().build().read("train", published("snli"))

    assert [(example.id, example.cluster, example.label) for example in rows.examples] == [
        ("7.jpg#1r1n", "7.jpg#1", 1),
        ("7.jpg#1r1e", "7.jpg#1", 0),
        ("7.jpg#1r2c", "7.jpg#1", 2),
    ]
    assert rows.left_out == {"its annotators agreed on no label": 1}
    assert rows.told.endswith("1 left out (its annotators agreed on no label)")


def test_rows_of_qqp_that_lack_something_are_left_out_unless_refused(published):
    folder = published("qqp")
    path = folder / "QQP" / "train.tsv"
    path.write_text(path.read_text() + tsv("7 | 1 | 2 | Why?", "8 | 1 | 3 |  | Why? | 0"))

    rows = qqp.Config().build().read("train", folder)

    assert rows.left_out == {"4 columns instead of 6": 1, "a text is empty": 1} and len(rows.examples) == 2
    with pytest.raises(FormatError, match=r"train.tsv:4: 4 columns .* \(2 in qqp's train split\)"):
        qqp.Config(incomplete="refuse").build().read("train", folder)


def test_a_split_that_there_is_none_of_is_named_with_those_there_are(tmp_path):
    with pytest.raises(
        ConfigError, match=r"no split validaton \(did you mean validation\?\); there are train"
    ):
        rte.Config().build().read("validaton", tmp_path)


def test_a_split_with_nothing_left_is_refused(published):
    folder = published("qqp")
    (folder / "QQP" / "dev.tsv").write_text(FILES["qqp"]["QQP/dev.tsv"].split("\n")[0] + "\n7\t1\n")

    with pytest.raises(FormatError, match="qqp: the validation split has no example but 1 rows left out"):
        qqp.Config().build().read("validation", folder)


def test_quotation_marks_of_glue_are_text_and_blanks_around_texts_are_none(published):
    examples = sst2.Config().build().read("train", published("sst2")).examples

    assert [(example.text, example.label, example.id) for example in examples] == [
        ("a dull film", 0, "0"),
        ('" bright', 1, "1"),
        ("odd but good", 1, "2"),
    ]


def test_tables_of_a_csv_writer_are_read_as_it_meant_them(tmp_path):
    (tmp_path / "rte").mkdir()
    (tmp_path / "rte" / "dev.tsv").write_text(
        "sentence1\tsentence2\tlabel\tidx\n"
        '"He said ""go"".\nShe went."\tShe went.\t0\t0\n'
        "He slept.\tNo.\t1\t7\n"
    )
    examples = rte.Config().build().read("validation", tmp_path).examples

    assert [(example.first, example.id, example.place[-9:]) for example in examples] == [
        ('He said "go".\nShe went.', "0", "dev.tsv:2"),
        ("He slept.", "7", "dev.tsv:4"),
    ]


def test_a_quotation_that_does_not_end_is_refused_with_its_line(tmp_path):
    (tmp_path / "rte").mkdir()
    (tmp_path / "rte" / "dev.tsv").write_text('sentence1\tsentence2\tlabel\tidx\nA\tB\t0\t0\n"A\tB\t0\t1\n')

    with pytest.raises(FormatError, match=r"dev.tsv:3: unexpected end of data; mend the row"):
        rte.Config().build().read("validation", tmp_path)


def test_both_domains_of_cola_are_its_validation_set(tmp_path):
    folder = tmp_path / "cola_public" / "raw"
    folder.mkdir(parents=True)
    (folder / "in_domain_dev.tsv").write_text(tsv("gj04 | 1 | | He rows."))
    (folder / "out_of_domain_dev.tsv").write_text(
        tsv("clc95 | 0 | * | Rows he.").rstrip()
    )  # as it is published

    examples = cola.Config().build().read("validation", tmp_path).examples

    assert [(example.id, example.text) for example in examples] == [("0", "He rows."), ("1", "Rows he.")]


def test_sources_behind_the_sentences_of_stsb_are_passed_over(tmp_path):
    (tmp_path / "stsbenchmark").mkdir()
    row = "main-news | news | 2012 | 1 | 4.25 | Rain fell. | It rained."
    (tmp_path / "stsbenchmark" / "sts-dev.csv").write_text(tsv(row, f"{row} | one | other"))

    examples = stsb.Config().build().read("validation", tmp_path).examples

    assert {(example.first, example.second, example.label) for example in examples} == {
        ("Rain fell.", "It rained.", 4.25)
    }


def release(folder, *listed: str):
    (folder / "mrpc").mkdir()
    names = "Quality | #1 ID | #2 ID | #1 String | #2 String"
    rows = ["1 | 7 | 8 | Rain fell. | It rained.", '0 | 9 | 10 | He said "go. | No.', "1 | 1 | 2 | A. | B."]
    (folder / "mrpc" / "msr_paraphrase_train.txt").write_text("\ufeff" + tsv(names, *rows))
    (folder / "mrpc" / "glue_validation.tsv").write_text(
        tsv("index | label | sentence1 | sentence2", *listed)
    )


def test_listed_rows_of_the_release_of_mrpc_are_its_validation_set(tmp_path):
    release(tmp_path, '1 | 0 | "He said "" go ." | No .')
    found = mrpc.Config().build()

    assert [example.first for example in found.read("validation", tmp_path).examples] == ['He said "go.']
    assert [example.id for example in found.read("train", tmp_path).examples] == ["0", "2"]


@pytest.mark.parametrize("row", ["1 | 1 | A . | B .", "3 | 1 | A . | B .", "x | 1 | A . | B ."])
def test_a_list_of_another_release_is_refused(tmp_path, row):
    release(tmp_path, row)

    with pytest.raises(
        FormatError, match=r"glue_validation.tsv:2: row . of .* is another one; get both files"
    ):
        mrpc.Config().build().read("train", tmp_path)


def test_questions_of_race_go_by_school(published):
    folder = published("race")

    both = race.Config().build().read("validation", folder).examples
    high = race.Config(level="high").build().read("validation", folder).examples

    assert len(both) == 8 and len(high) == 4 and {example.group for example in high} == {"high"}
    assert (high[0].id, high[0].cluster) == ("high12.txt/0", "high12.txt")
    assert high[1].place.endswith("12.txt:1, question 2") and high[1].label == 1
    assert high[0].answers == ("the rain", "the river", "a boat", "nobody")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (('"answers"', '"solutions"'), "no answers"),
        (('["A", "B"]', '["A", "E"]'), "answer 'E' is none of its 4 options"),
        (('["A", "B"]', '["A", "AB"]'), "answer 'AB' is none of its 4 options"),
        (('["A", "B"]', '["A"]'), "argument 3 is shorter"),
        (("{", ""), "no passage of RACE"),
        (('"article": "Rain', '"article": ["Rain'), "no passage of RACE"),
    ],
)
def test_a_passage_of_race_that_is_none_is_refused(published, change, fault):
    folder = published("race")
    path = folder / "RACE" / "dev" / "middle" / "7.txt"
    path.write_text(path.read_text().replace(*change, 1))

    with pytest.raises(FormatError, match=r"7.txt:1: no passage of RACE .*") as refused:
        race.Config().build().read("validation", folder)
    assert fault in str(refused.value) and str(refused.value).endswith("get the file anew")


def test_an_empty_option_is_refused_with_its_question(published):
    folder = published("race")
    path = folder / "RACE" / "dev" / "high" / "7.txt"
    path.write_text(path.read_text().replace('"nobody"', '""', 1))

    with pytest.raises(FormatError, match=r"7.txt:1, question 1: a text is empty; mend the row"):
        race.Config(level="high").build().read("validation", folder)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (('"text": "Bob"', '"text": "Zoe"'), "its passage has no 'Zoe' at character 10"),
        (('"answers"', '"replies"'), "not laid out as SQuAD 1.1 .*answers"),
        (('"data"', '"date"'), "not laid out as SQuAD 1.1 .*data"),
        (('"answer_start": 10', '"answer_start": "10"'), "not laid out as SQuAD 1.1"),
        (("[{", "[{{"), "no JSON"),
    ],
)
def test_a_file_of_squad_that_is_none_is_refused(published, change, fault):
    folder = published("squad")
    path = folder / "squad" / "dev-v1.1.json"
    path.write_text(path.read_text().replace(*change, 1))

    with pytest.raises(FormatError, match=rf"dev-v1.1.json:1: .*{fault}.*; get the file anew"):
        squad.Config().build().read("validation", folder)


def test_a_question_of_squad_is_named_by_its_line(published):
    folder = published("squad")
    path = folder / "squad" / "dev-v1.1.json"
    path.write_text(json.dumps(json.loads(path.read_text()), indent=1))
    line = next(n for n, text in enumerate(path.read_text().split("\n"), 1) if '"id"' in text)

    (example,) = squad.Config().build().read("validation", folder).examples

    assert example.place == f"{path}:{line}" and example.question == "Who rows?"
    assert [text for _, text in example.answers] == ["Bob", "Bob (her son)", "her son"]


GLUE_ROWS = {"label": 1, "idx": 4}
BY_NAME = {
    "rte": (
        {"sentence1": "A. ", "sentence2": "B."} | GLUE_ROWS,
        Pair(first="A.", second="B.", label=1, id="4"),
    ),
    "mnli": (
        {"premise": "A.", "hypothesis": "B."} | GLUE_ROWS,
        Pair(first="A.", second="B.", label=1, id="4"),
    ),
    "qnli": (
        {"question": "Q?", "sentence": "A."} | GLUE_ROWS,
        Pair(first="Q?", second="A.", label=1, id="4"),
    ),
    "qqp": (
        {"question1": "A?", "question2": "B?"} | GLUE_ROWS,
        Pair(first="A?", second="B?", label=1, id="4"),
    ),
    "mrpc": (
        {"sentence1": "A.", "sentence2": "B."} | GLUE_ROWS,
        Pair(first="A.", second="B.", label=1, id="4"),
    ),
    "sst2": ({"sentence": "A. "} | GLUE_ROWS, Text(text="A.", label=1, id="4")),
    "cola": ({"sentence": "A.", "idx": 4, "label": -1}, Text(text="A.", label=None, id="4")),
    "stsb": (
        {"sentence1": "A.", "sentence2": "B.", "label": 2.5, "idx": 0},
        Pair(first="A.", second="B.", label=2.5, id="0"),
    ),
    "snli": ({"premise": "A.", "hypothesis": "B.", "label": 2}, Pair(first="A.", second="B.", label=2)),
    "scitail": (
        {"premise": "A.", "hypothesis": "B.", "label": "neutral"},
        Pair(first="A.", second="B.", label=1),
    ),
    "race": (
        {"example_id": "high3.txt", "article": "A.", "question": "Q?", "options": ["a", "b"], "answer": "B"},
        Choice(context="A.", question="Q?", answers=("a", "b"), label=1, cluster="high3.txt", group="high"),
    ),
    "squad": (
        {"id": "q", "context": "A b.", "question": "Q?", "answers": {"text": ["b"], "answer_start": [2]}},
        Span(context="A b.", question="Q?", answers=((2, "b"),), id="q", cluster="A b."),
    ),
}


@pytest.mark.parametrize("name", BY_NAME)
def test_rows_by_name_are_read_alike(name):
    row, example = BY_NAME[name]
    hub = FOLDER.config(name)().build().splits["validation"].hub

    assert hub is not None and hub.row(row) == example


def test_pairs_by_name_without_agreement_are_left_out_too():
    hub = snli.Config().build().splits["train"].hub

    assert isinstance(hub.row({"premise": "A.", "hypothesis": "B.", "label": -1}), LeftOut)


def by_name(dataset: Dataset, folder, rows) -> Dataset:
    """Return a dataset whose validation split is had by the name of a folder with these rows."""
    folder.mkdir()
    (folder / "validation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = dataset.splits["validation"]
    hub = dataclasses.replace(source.hub, path=str(folder), name=None)
    return dataclasses.replace(dataset, splits={"validation": dataclasses.replace(source, hub=hub)})


def test_rows_by_name_are_placed_and_counted(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    rows = [{"premise": "A.", "hypothesis": "B.", "label": label} for label in (2, -1, 0)]
    found = by_name(snli.Config().build(), tmp_path / "rows", rows)

    split = found.read("validation", None)

    assert [(example.id, example.place) for example in split.examples] == [
        ("0", f"{tmp_path / 'rows'}, row 0"),
        ("2", f"{tmp_path / 'rows'}, row 2"),
    ]
    assert split.told == (
        "snli validation: 2 examples (9,842 were published), 1 left out (its annotators agreed on no label)"
    )


def test_a_name_that_cannot_be_had_is_told_with_the_place_to_get_the_files(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    found = by_name(snli.Config().build(), tmp_path / "rows", [])

    with pytest.raises(MissingSet, match="SNLI, validation: .* give data=DIR with it"):
        found.read("validation", None)


def test_reading_transforming_and_judging_need_no_torch():
    names = ["dataset", "table", "transform", "measure", "predictions"]
    names += [f"datasets.{name}" for name in FOLDER.names()]
    code = "".join(f"import pipeline.finetune.{name}\n" for name in names)

    subprocess.run([sys.executable, "-c", f"{code}import sys\nassert 'torch' not in sys.modules"], check=True)
