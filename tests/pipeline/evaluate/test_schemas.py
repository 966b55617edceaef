"""Winograd schemas: how the collection is read, and how a candidate reads in a pronoun's place."""

import dataclasses
import json

import pytest

from model import tokenizer as tokenizers
from pipeline.errors import FormatError
from pipeline.evaluate.schemas import COUNT, SOURCE, WinogradSchema, as_lm_eval, fluent, parse

SCHEMA = """
<schema>
<text><txt1>The cup fell off
  the shelf because</txt1> <pron> it </pron> <txt2> was wet. </txt2></text>
<quote><pron>it </pron><quote2>was wet</quote2></quote>
<answers><answer>The cup </answer><answer>the shelf</answer></answers>
<correctAnswer> B.  </correctAnswer><source>nobody</source>
</schema>"""


def collection(schemas):
    return f'<?xml version="1.0" encoding="ISO-8859-1"?>\n<collection>{"".join(schemas)}\n</collection>\n'


def schema(before, pronoun, after, first="Ann", second="Bo"):
    return WinogradSchema(before, pronoun, after, (first, second), 0)


def test_a_schema_is_read_with_single_blanks(tmp_path):
    path = tmp_path / "WSCollection.xml"
    path.write_text(collection([SCHEMA]))

    assert parse([path]) == [
        WinogradSchema(
            "The cup fell off the shelf because", "it", "was wet.", ("The cup", "the shelf"), answer=1
        )
    ]


def test_only_the_first_273_are_taken(tmp_path):
    path = tmp_path / "WSCollection.xml"
    path.write_text(collection([SCHEMA] * (COUNT + 12)))

    assert len(parse([path])) == 273


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (collection([SCHEMA, SCHEMA.replace("B.", "C")]), 10, "the letter of the correct one; found 'it'"),
        (collection([SCHEMA.replace(" was wet. ", " ")]), 3, "text after it"),
        (collection([SCHEMA, SCHEMA.replace("<answer>the shelf</answer>", "")]), 10, "two answers"),
        (collection([SCHEMA]).replace("</pron> <txt2>", " <txt2>"), 5, "mismatched tag"),
        ("", 1, "no element found"),
    ],
)
def test_a_malformed_schema_is_named_with_file_and_line(tmp_path, content, line, message):
    path = tmp_path / "WSCollection.xml"
    path.write_text(content)

    with pytest.raises(FormatError) as raised:
        parse([path])
    assert str(raised.value).startswith(f"{path}:{line}: ") and message in str(raised.value)


@pytest.mark.parametrize(
    ("put", "candidate", "text"),
    [
        (schema("Ann hid", "it", "fast."), "A coat", "Ann hid the coat fast."),
        (schema("Ann hid", "it", "."), "coats", "Ann hid the coats."),
        (schema("Ann met Bo.", "He", "smiled."), "the boy", "Ann met Bo. The boy smiled."),
        (schema("", "He", "smiled."), "my son", "My son smiled."),
        (schema("Ann knew that", "he", "slept."), "My son", "Ann knew that my son slept."),
        (schema("Ann took", "his", "hat."), "Bo", "Ann took Bo's hat."),
        (schema("Ann took", "her", "hat."), "Ann's", "Ann took Ann's hat."),
        (schema("Ann said", "she", "slept."), "Ann's", "Ann said Ann slept."),
        (schema("Ann hung", "it", "up."), "Bo's", "Ann hung Bo's up."),
        (schema("Ann saw that", "he", ", too, slept."), "Bo", "Ann saw that Bo, too, slept."),
        (schema("Ann ran and", "his", '"Go!" came.'), "Bo", 'Ann ran and Bo\'s "Go!" came.'),
    ],
)
def test_a_candidate_reads_as_people_would_write_it(put, candidate, text):
    assert "".join(fluent(put, candidate)) == text


def test_lm_evals_way_keeps_its_oddities():
    assert as_lm_eval(schema("Ann took", "her", "hat."), "Ann's") == ("Ann took", " Ann's's", "  hat.")
    assert as_lm_eval(schema("Ann saw", "it", "."), "The coat") == ("Ann saw", " the coat", "  .")
    assert as_lm_eval(schema("Bo sat.", "It", "broke."), "The chair")[1] == " The chair"


def test_rows_by_name_are_cut_where_the_pronoun_stands():
    row = {
        "text": "The cup fell because it was wet.",
        "pronoun": "it",
        "pronoun_loc": 21,
        "options": ["The cup", "the shelf"],
        "label": 0,
    }

    assert SOURCE.hub.row(row) == WinogradSchema(
        "The cup fell because", "it", "was wet.", ("The cup", "the shelf"), 0
    )


@pytest.mark.real_data
def test_parts_tokenized_apart_are_the_ids_of_the_whole(real_data, setting):
    tokenizer = tokenizers.gpt2()

    for schema in dataclasses.replace(setting, data=real_data / "eval").rows(SOURCE).rows:
        for parts in (put(schema, each) for put in (fluent, as_lm_eval) for each in schema.candidates):
            assert tokenizer.encode("".join(parts)) == [id for part in parts for id in tokenizer.encode(part)]


@pytest.mark.real_data
def test_the_published_collection_reads_well_throughout(real_data, setting):
    found = dataclasses.replace(setting, data=real_data / "eval").rows(SOURCE).rows

    others = (real_data / "eval/wsc273/winograd_wsc_llmfoundry.jsonl").read_text().splitlines()
    assert [schema.answer for schema in found] == [json.loads(line)["gold"] for line in others]
    assert len(found) == 273
    for schema in found:
        for candidate in schema.candidates:
            text = "".join(fluent(schema, candidate))
            assert "  " not in text and "'s's" not in text and " ." not in text
