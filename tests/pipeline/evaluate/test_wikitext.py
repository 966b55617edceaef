"""WikiText's articles, the texts they can be read as, and what is counted of each."""

import dataclasses
import re

import pytest

from pipeline.evaluate.original import read_lines, text_as_it_is
from pipeline.evaluate.task import Setting
from pipeline.evaluate.tasks import wikitext2, wikitext103
from pipeline.evaluate.wikitext import lm_eval_text, pages

ARTICLES = [
    " = The mill = \n \n The mill 's wheel ( 5 @.@ 5 m ) turned . \n \n = = Later = = \n \n It sank . \n \n",
    ' = Robert = \n \n " Go " , said he ; it cost 1 @,@ 000 . He \'s <unk> . \n',
]
TEXT = " \n" + "".join(ARTICLES)


@pytest.fixture
def sets(setting, tmp_path) -> Setting:
    for folder, name in (("wikitext-2-raw", "wiki.test.raw"), ("wikitext-2", "wiki.test.tokens")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(TEXT)
    return dataclasses.replace(setting, data=tmp_path, check_sums=False)


def whole(task, unit):
    return sum(task.score(example, [])[unit] for example in task.examples())


def text_of(task):
    return "".join(task.score(example, [])["text"] for example in task.examples())


@pytest.mark.parametrize("version", ["raw", "tokens"])
def test_one_text_is_written_from_all_articles_and_counted_by_their_words(sets, version):
    task = wikitext2.Config(version=version).build(sets)

    assert text_of(task).startswith("\n= The mill =\n\nThe mill's wheel (5.5 m) turned.\n\n== Later ==\n")
    assert whole(task, "words") == len(TEXT.split()) + TEXT.count("\n")
    assert whole(task, "bytes") == len(TEXT.encode())
    assert f"test file, {version}" in task.protocol and "0 chunks are exceptions" in task.protocol


def test_the_text_as_it_is_counts_the_same(sets):
    task = wikitext2.Config(text="original").build(sets)

    assert text_of(task) == TEXT
    assert whole(task, "words") == len(TEXT.split()) + TEXT.count("\n")


def test_lm_evals_articles_stand_alone_and_are_counted_as_it_does(sets):
    task = wikitext2.Config(text="lm-eval").build(sets)
    records = [task.score(example, []) for example in task.examples()]

    assert [record["text"] for record in records] == [lm_eval_text(article) for article in pages([TEXT])]
    assert [record["words"] for record in records] == [len(re.split(r"\s+", a)) for a in pages([TEXT])]
    assert whole(task, "bytes") == sum(len(article.encode()) for article in pages([TEXT]))
    for example in task.examples():
        assert task.requests(example)[0].context == (sets.tokenizer.eot_id,)


def test_articles_begin_with_a_title_of_the_first_rank():
    lines = TEXT.splitlines(keepends=True)

    assert pages(lines) == [ARTICLES[0].removesuffix("\n"), ARTICLES[1]]


def test_wikitext103_reads_wikitext2s_raw_file_which_is_the_same(sets):
    task = wikitext103.Config().build(sets)

    assert task.name == "wikitext103"
    assert task.data_sha256 == wikitext2.Config().build(sets).data_sha256


def test_the_hubs_empty_lines_are_lines_of_one_blank():
    row = wikitext2.SOURCES["raw"].hub.row

    assert [row({"text": ""}), row({"text": " = X = \n"})] == [" \n", " = X = \n"]


@pytest.mark.real_data
def test_the_published_file_has_as_many_words_and_articles_as_papers_say(real_data):
    lines = read_lines([real_data / "eval/wikitext2/raw/wiki.test.raw"])
    counts = text_as_it_is(lines).counts

    assert counts["words"][-1] == 245_569 and counts["bytes"][-1] == 1_290_590
    assert len(pages(lines)) == 62


@pytest.mark.real_data
def test_lm_evals_text_is_that_of_lm_eval(real_data):
    theirs = pytest.importorskip("lm_eval.tasks.wikitext.preprocess_wikitext")
    for page in pages(read_lines([real_data / "eval/wikitext2/raw/wiki.test.raw"]))[::8]:
        assert lm_eval_text(page) == theirs.wikitext_detokenizer({"page": page})
