"""Tables of any content: every row is an example or told of, and what is no table is a FormatError."""

import csv
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import FormatError
from pipeline.finetune.dataset import Example
from pipeline.finetune.table import Form, named, numbered, plain_lines, rows, score

FORM = Form(texts=("first", "second"), label="label", read=named("yes", "no"), id="id")
QUOTED = Form(texts=("first", "second"), label="label", read=named("yes", "no"), id="id", quoted=True)
NAMES = "id\tfirst\tsecond\tlabel\n"
# Texts with whatever a table might trip over, but for the two characters that part its cells.
TEXT = st.text(st.characters(exclude_characters="\t\n\r", exclude_categories=["Cs"]), max_size=8)
ANY_FOLDER = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@ANY_FOLDER
@given(st.lists(st.lists(TEXT, max_size=6), max_size=6))
def test_no_row_is_passed_over(tmp_path, table):
    path = tmp_path / "any.tsv"
    lines = ["\t".join([*texts, "yes"]) for texts in table]
    path.write_text(NAMES + "".join(f"{line}\n" for line in lines), encoding="utf-8", newline="")

    found = rows([path], [FORM])

    assert len(found) == len(table)
    for number, (row, texts) in enumerate(zip(found, table, strict=True), start=2):
        assert row.place == f"{path}:{number}"
        assert isinstance(row, Example) == (len(texts) == 3)
        if isinstance(row, Example):
            assert (row.id, *row.texts) == tuple(text.strip() for text in texts)


@ANY_FOLDER
@given(st.binary(max_size=80), st.booleans())
def test_what_is_no_table_is_refused_with_its_file_and_line(tmp_path, content, quoted):
    path = tmp_path / "any.tsv"
    path.write_bytes(NAMES.encode() + content)

    try:
        rows([path], [QUOTED if quoted else FORM])
    except FormatError as refused:
        assert str(refused).startswith(f"{path}:") and "anew" in str(refused)


@ANY_FOLDER
@given(st.lists(st.tuples(TEXT, TEXT), max_size=6))
def test_a_csv_writers_table_is_read_as_it_was_written(tmp_path, pairs):
    path = tmp_path / "any.tsv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(["id", "first", "second", "label"])
        writer.writerows([str(number), *pair, "no"] for number, pair in enumerate(pairs))

    found = rows([path], [QUOTED])

    assert [row.texts for row in found] == [(first.strip(), second.strip()) for first, second in pairs]


def test_lines_may_end_as_they_do_on_windows_and_the_last_not_at_all(tmp_path: Path):
    path = tmp_path / "any.tsv"
    path.write_bytes(b"\xef\xbb\xbfa\tb\r\nc\td")

    assert list(plain_lines(path)) == [(1, ["a", "b"]), (2, ["c", "d"])]


def test_a_secret_label_may_have_no_column(tmp_path: Path):
    path = tmp_path / "any.tsv"
    path.write_text("id\tfirst\tsecond\n7\tA\tB\n")

    (row,) = rows([path], [FORM], secret=True)

    assert isinstance(row, Example) and row.id == "7" and row.label is None
    with pytest.raises(FormatError, match=r"any.tsv:1: no column label \(there are id, first, second\)"):
        rows([path], [FORM])


@pytest.mark.parametrize("label", ["6", "-0.1", "nan", "inf", "", "three"])
def test_a_score_is_a_number_of_its_scale(label):
    assert score(0, 5)("3.25") == 3.25
    with pytest.raises(ValueError, match="is no number from 0 to 5"):
        score(0, 5)(label)


def test_a_number_of_no_class_is_unknown_and_minus_one_is_secret():
    assert [numbered(2)(label) for label in ("0", "1", "-1")] == [0, 1, None]
    with pytest.raises(ValueError, match="label '2' is unknown"):
        numbered(2)("2")
