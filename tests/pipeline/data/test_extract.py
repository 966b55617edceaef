from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import Kind, Schema
from pipeline.data import extract
from pipeline.data.documents import document_files, read_documents
from pipeline.data.extract import document_id, plan_slices, self_test, tidy
from pipeline.data.extractors.resiliparse import Config as Resiliparse
from pipeline.data.pages import read_pages
from pipeline.errors import FormatError, StageError
from tests.pipeline.data.conftest import write_links, write_warc

KIND = Kind("pipeline.data.extractors")


def page(number: int) -> bytes:
    return (
        f"<html><body><h1>Title {number}</h1><p>The text of page {number} is här.</p></body></html>".encode()
    )


def pages(count: int) -> dict[str, bytes]:
    return {f"http://example.org/{number}": page(number) for number in range(count)}


@pytest.mark.parametrize("name", KIND.names())
def test_every_extractor_passes_its_self_test(name: str):
    self_test(KIND.config(name)())


class Broken(Schema):
    def extract(self, html: str, url: str) -> str:
        raise ImportError("lxml.html.clean is not installed")


def test_a_broken_extractor_is_an_error_before_the_first_page():
    with pytest.raises(StageError, match="self-test"):
        self_test(Broken())


def test_pages_become_documents_with_their_karma(tmp_path: Path, phase):
    write_warc(tmp_path / "pages" / "a.warc.gz", pages(5))
    write_links(tmp_path / "links" / "0.parquet", {"http://example.org/1": 7, "http://example.org/2": 4})

    counts = extract.run(Resiliparse(), 0.2, phase("extract"))

    [file] = document_files(tmp_path / "documents")
    found = {each.metadata["url"]: each for each in read_documents(file)}
    assert (counts.documents_in, counts.documents_out, len(found)) == (5, 5, 5)
    second = found["http://example.org/1"]
    assert "The text of page 1 is här." in second.text
    assert second.id == document_id("http://example.org/1")
    assert (second.metadata["karma"], second.metadata["domain"]) == (7, "example.org")
    assert found["http://example.org/3"].metadata["karma"] == 0


def test_a_page_without_text_is_kept_among_the_dropped(tmp_path: Path, phase):
    write_warc(tmp_path / "pages" / "a.warc.gz", pages(5) | {"http://example.org/x": b"<html></html>"})

    counts = extract.run(Resiliparse(), 0.2, phase("extract"))

    assert (counts.documents_in, counts.documents_out, counts.dropped) == (6, 5, {"empty": 1})
    [lost] = read_documents(tmp_path / "dropped" / "extract" / "empty" / "00000.jsonl.zst")
    assert lost.metadata["url"] == "http://example.org/x"


def test_too_many_lost_pages_are_an_error(tmp_path: Path, phase):
    write_warc(tmp_path / "pages" / "a.warc.gz", {f"http://example.org/{n}": b"" for n in range(4)})

    with pytest.raises(StageError, match=r"4 of 4 pages gave no text \(empty 4\)"):
        extract.run(Resiliparse(), 0.2, phase("extract"))


def test_a_file_is_cut_into_slices_by_its_size_and_no_page_is_read_twice(tmp_path: Path, monkeypatch):
    write_warc(tmp_path / "a.warc.gz", pages(50))
    monkeypatch.setattr(extract, "SLICE_BYTES", 2000)
    slices = plan_slices([tmp_path / "a.warc.gz"])

    found = [each.url for path, part, parts in slices for each in read_pages(path, part, parts)]

    assert len(slices) > 2
    assert sorted(found) == sorted(pages(50))


def test_a_damaged_warc_is_named(tmp_path: Path):
    write_warc(tmp_path / "a.warc.gz", pages(50))
    data = bytearray((tmp_path / "a.warc.gz").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    (tmp_path / "a.warc.gz").write_bytes(data)

    with pytest.raises(FormatError, match=r"a\.warc\.gz: damaged after page"):
        list(read_pages(tmp_path / "a.warc.gz", 0, 1))


def test_tidy_text_has_plain_spaces_and_single_blank_lines():
    assert tidy("a\u00a0b  \r\n\t\r\n\r\n\r\n  c\x00\ud800\n") == "a b\n\n  c"


@given(st.text())
def test_tidying_twice_changes_nothing_more_and_leaves_valid_text(text: str):
    assert tidy(tidy(text)) == tidy(text)
    tidy(text).encode()
