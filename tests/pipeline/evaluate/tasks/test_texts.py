"""The other sets that are read as texts: Penn Treebank, One Billion Words, enwik8, text8."""

import dataclasses

import pytest

from pipeline.errors import FormatError
from pipeline.evaluate.tasks import enwik8, one_billion_words, ptb, text8
from pipeline.formats.source import MissingSet

PTB = " no it was n't black monday \n the <unk> cost $ N million or N % \n"
NEWS = 'The " old mill " burned down , he said .\nNobody was hurt .\n'
ARCHIVE = "1-billion-word-language-modeling-benchmark-r13output"
FILES = {
    "simple-examples/data/ptb.test.txt": PTB,
    f"{ARCHIVE}/heldout-monolingual.tokenized.shuffled/news.en.heldout-00000-of-00050": NEWS,
    f"{ARCHIVE}/heldout-monolingual.tokenized.shuffled/news.en.heldout-00001-of-00050": "Another .\n",
    "enwik8/enwik8": "<page>" * 950 + "Zürich &quot;" * 20 + "x" * 40,
    "text8/text8": "the old mill " * 1000,
}


@pytest.fixture
def sets(setting, tmp_path):
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return dataclasses.replace(setting, data=tmp_path, check_sums=False)


def read(task):
    """Return the texts that a task reads, and the units it counts."""
    records = [task.score(example, []) for example in task.examples()]
    units = {unit for record in records for unit in record if unit in ("words", "bytes", "characters")}
    return [record["text"] for record in records], {
        unit: sum(record[unit] for record in records) for unit in units
    }


@pytest.mark.parametrize("number, text", [("N", "$N million or N%"), ("10", "$10 million or 10%")])
def test_the_treebank_is_read_as_written_with_its_numbers_as_wanted(sets, number, text):
    texts, units = read(ptb.Config(number=number).build(sets))

    assert "".join(texts) == f"no it wasn't black monday\nthe <unk> cost {text}\n"
    assert units == {"words": len(PTB.split()) + 2, "bytes": len(PTB)}


def test_the_treebank_is_read_as_it_is_too(sets):
    texts, units = read(ptb.Config(text="original").build(sets))

    assert "".join(texts) == PTB and units["words"] == len(PTB.split()) + 2


@pytest.mark.parametrize("alone", [False, True])
def test_sentences_of_news_see_each_other_or_do_not(sets, alone):
    task = one_billion_words.Config(alone=alone).build(sets)
    texts, units = read(task)

    assert "".join(texts) == 'The "old mill" burned down, he said.\nNobody was hurt.\n'
    assert len(texts) == (2 if alone else len(texts)) and ("each sentence alone" in task.protocol) == alone
    assert units == {"words": len(NEWS.split()) + 2, "bytes": len(NEWS)}


def test_sentences_of_news_are_read_as_they_are_too(sets):
    texts, _ = read(one_billion_words.Config(text="original").build(sets))

    assert "".join(texts) == NEWS


def test_the_last_twentieth_is_for_testing(sets):
    whole = FILES["enwik8/enwik8"].encode()
    task = enwik8.Config().build(sets)
    texts, units = read(task)
    test = whole[len(whole) - len(whole) // 20 :].decode()

    assert units == {"bytes": len(test.encode()), "characters": len(test)} and units["bytes"] > len(test)
    assert "".join(texts).count("&quot;") == test.count("&quot;")
    assert read(text8.Config().build(sets))[1] == {"bytes": 650, "characters": 650}


def test_a_file_of_the_test_part_alone_is_read_whole(sets):
    path = sets.data / "enwik8/enwik8"
    path.rename(path.with_suffix(".test"))

    assert read(enwik8.Config().build(sets))[1]["bytes"] == len(FILES["enwik8/enwik8"].encode())


def test_a_part_that_begins_within_a_character_is_no_text(sets):
    (sets.data / "text8/text8").write_bytes(b"a" * 94 + "é".encode() * 3)

    with pytest.raises(FormatError, match=r"text8: byte 95: not UTF-8"):
        text8.Config().build(sets)


@pytest.mark.parametrize("kind", [ptb, one_billion_words, enwik8, text8])
def test_what_is_missing_is_named_with_where_to_get_it(setting, tmp_path, kind):
    with pytest.raises(MissingSet, match=r"not below .*; get it from http"):
        kind.Config().build(dataclasses.replace(setting, data=tmp_path))


@pytest.mark.real_data
def test_the_real_part_of_enwik8_is_text_of_five_million_bytes(real_data):
    (text,) = enwik8.SOURCE.parse([real_data / "eval/enwik8/enwik8.test"])

    assert len(text.encode()) == 5_000_000 and "&quot;" in text
