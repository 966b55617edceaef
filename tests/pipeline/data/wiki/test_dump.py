import bz2
import gzip
import lzma
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd

from pipeline.data.wiki.dump import articles
from pipeline.errors import FormatError

HEAD = (
    '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/"><siteinfo><sitename>W</sitename></siteinfo>'
)


def page(title: str, text: str, namespace: int = 0, extra: str = "") -> str:
    revision = f"<revision><id>1</id><text>{text}</text></revision>"
    return f"<page><title>{title}</title><ns>{namespace}</ns>{extra}{revision}</page>"


DUMP = (
    HEAD
    + page("Rome", "the [[capital]]")
    + page("Roma", "#REDIRECT [[Rome]]", extra='<redirect title="Rome" />')
    + page("Talk:Rome", "a talk page", namespace=1)
    + page("Empty", "")
    + "</mediawiki>"
)


@pytest.mark.parametrize(
    ("ending", "pack"),
    [
        ("", bytes),
        (".bz2", bz2.compress),
        (".gz", gzip.compress),
        (".xz", lzma.compress),
        (".zst", zstd.compress),
    ],
)
def test_articles_are_the_pages_that_are_neither_redirects_nor_of_another_namespace(
    tmp_path: Path, ending: str, pack: Callable[[bytes], bytes]
):
    path = tmp_path / f"dump.xml{ending}"
    path.write_bytes(pack(DUMP.encode()))

    assert list(articles(path)) == [("Rome", "the capital"), ("Empty", "")]


def test_rows_have_a_title_and_a_text_under_one_of_its_usual_names(tmp_path: Path):
    path = tmp_path / "dump.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"title": "Rome", "text": "a"}\n{"extract": "b"}\n'))

    assert list(articles(path)) == [("Rome", "a"), ("", "b")]


@pytest.mark.parametrize("row", ["[1]", "{", '{"title": "x"}', '{"text": null}'])
def test_a_row_without_text_is_named(tmp_path: Path, row: str):
    path = tmp_path / "dump.jsonl"
    path.write_text(f'{{"text": "a"}}\n{row}\n')

    with pytest.raises(FormatError, match=r"dump\.jsonl:2: a JSON object with one of text, extract"):
        list(articles(path))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cut.xml", DUMP.encode()[:-20]),
        ("cut.xml.bz2", bz2.compress(DUMP.encode())[:-10]),
        ("html.xml", b"<html><p>not found</html>"),
        ("empty.xml", b""),
        ("dump.sql.gz", b""),
    ],
)
def test_a_damaged_dump_is_named_and_never_taken_for_a_shorter_one(tmp_path: Path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(FormatError, match=name.replace(".", r"\.")):
        list(articles(tmp_path / name))


def test_entities_that_multiply_are_refused(tmp_path: Path):
    entities = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(12))
    bomb = (
        f'<!DOCTYPE m [<!ENTITY e0 "x">{entities}]><mediawiki><page><title>&e12;</title></page></mediawiki>'
    )
    (tmp_path / "dump.xml").write_text(bomb)

    with pytest.raises(FormatError, match="not a whole MediaWiki dump"):
        list(articles(tmp_path / "dump.xml"))


def test_memory_does_not_grow_with_the_dump(tmp_path: Path):
    one = page("Rome", "word " * 2000)
    (tmp_path / "dump.xml").write_text(HEAD + one * 1000 + "</mediawiki>")
    tracemalloc.start()

    count = sum(1 for _ in articles(tmp_path / "dump.xml"))

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 1000
    assert peak < 2 << 20  # of a dump of 10 MB
