"""The beginning of a MediaWiki dump as documents: what enwik8 is."""

import gzip
from pathlib import Path

import pytest

from pipeline.data import read
from pipeline.data.documents import Text, document_files, read_documents
from pipeline.data.readers.mediawiki import Config
from pipeline.errors import StageError

HEAD = (
    '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.3/"><siteinfo><namespaces>'
    '<namespace key="-2">Media</namespace><namespace key="0" /><namespace key="1">Talk</namespace>'
    "</namespaces></siteinfo>"
)


def page(title: str, text: str) -> str:
    return f"<page><title>{title}</title><id>1</id><revision><text>{text}</text></revision></page>"


BEGINNING = (
    HEAD
    + page("Rome", "'''Rome''' is the [[capital city|capital]] of [[Italy]].{{stub}}")
    + page("Roma", "#REDIRECT [[Rome]]")
    + page("Talk:Rome", "not an article")
    + page("Star Wars: Episode IV", "a film")
    + page("Box", "{{nothing but a template}}")
    + "<page><title>Cut</title><revision><text>This page goes on af"
)


def written(folder: Path, text: str) -> Path:
    path = folder / "wiki.xml.gz"
    path.write_bytes(gzip.compress(text.encode()))
    return path


def documents(folder: Path) -> list[Text]:
    return [each for file in document_files(folder / "documents") for each in read_documents(file)]


def test_articles_without_markup_are_documents_named_by_file_and_title(tmp_path: Path, phase):
    counts = read.run(Config(may_end_early=True, max_lost=1), [written(tmp_path, BEGINNING)], phase("read"))

    assert [(each.text, each.metadata["url"]) for each in documents(tmp_path)] == [
        ("Rome is the capital of Italy.", "file:wiki.xml.gz#title=Rome"),
        ("a film", "file:wiki.xml.gz#title=Star Wars: Episode IV"),
    ]
    assert counts.dropped == {"empty": 1}


def test_a_dump_that_ends_early_counts_as_damaged_unless_it_may(tmp_path: Path, phase):
    counts = read.run(Config(max_lost=1), [written(tmp_path, BEGINNING)], phase("read"))

    assert counts.dropped == {"empty": 1, "damaged-file": 1}


def test_what_is_no_dump_is_an_error_though_it_may_end_early(tmp_path: Path, phase):
    with pytest.raises(StageError, match="damaged-file"):
        read.run(Config(may_end_early=True), [written(tmp_path, HEAD + "<a></b>")], phase("read"))
