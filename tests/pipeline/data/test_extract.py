from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import Kind, Schema
from pipeline.data import extract
from pipeline.data.counts import PhaseCounts
from pipeline.data.documents import document_files, read_documents
from pipeline.data.extract import document_id, plan_slices, self_test, tidy
from pipeline.data.extractors.resiliparse import Config as Resiliparse
from pipeline.data.phase import PhaseRun
from pipeline.data.stored.pages import read_pages
from pipeline.errors import StageError
from tests.pipeline.data.conftest import write_links, write_log, write_warc
from tests.pipeline.data.small_archive import write_archive

KIND = Kind("pipeline.data.extractors")


def page(number: int) -> bytes:
    return (
        f"<html><body><h1>Title {number}</h1><p>The text of page {number} is här.</p></body></html>".encode()
    )


def pages(count: int) -> dict[str, bytes]:
    return {f"http://example.org/{number}": page(number) for number in range(count)}


def run(folder: Path, at_work: PhaseRun, most_lost: float = 0.2) -> PhaseCounts:
    return extract.run(Resiliparse(), most_lost, sorted((folder / "pages").glob("*.warc.gz")), at_work)


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
    write_log(tmp_path)
    write_links(tmp_path / "links" / "0.parquet", {"http://example.org/1": 7, "http://example.org/2": 4})

    counts = run(tmp_path, phase("extract"))

    [file] = document_files(tmp_path / "documents")
    found = {each.metadata["url"]: each for each in read_documents(file)}
    assert (counts.documents_in, counts.documents_out, len(found)) == (5, 5, 5)
    second = found["http://example.org/1"]
    assert "The text of page 1 is här." in second.text
    assert second.id == document_id("http://example.org/1")
    assert (second.metadata["karma"], second.metadata["domain"]) == (7, "example.org")
    assert found["http://example.org/3"].metadata["karma"] == 0


def test_a_page_whose_address_is_no_url_keeps_its_name(tmp_path: Path, phase):
    names = ["urn:uuid:1", "", "http://exa mple.org/\u00fc", "http://[::1", "x" * 5000]
    write_warc(tmp_path / "pages" / "a.warc.gz", dict.fromkeys(names, page(1)))

    assert run(tmp_path, phase("extract")).documents_out == len(names)


def test_a_page_without_text_is_kept_among_the_dropped(tmp_path: Path, phase):
    write_warc(tmp_path / "pages" / "a.warc.gz", pages(5) | {"http://example.org/x": b"<html></html>"})

    counts = run(tmp_path, phase("extract"))

    assert (counts.documents_in, counts.documents_out, counts.dropped) == (6, 5, {"empty": 1})
    assert counts.extra["lost_pages"] == 1
    [lost] = read_documents(tmp_path / "dropped" / "extract" / "empty" / "00000.jsonl.zst")
    assert lost.metadata["url"] == "http://example.org/x"


def test_too_many_lost_pages_are_an_error(tmp_path: Path, phase):
    write_warc(tmp_path / "pages" / "a.warc.gz", {f"http://example.org/{n}": b"" for n in range(4)})

    with pytest.raises(StageError, match=r"4 of 4 pages gave no text \(empty 4\)"):
        run(tmp_path, phase("extract"))


def test_a_file_is_cut_into_slices_by_its_size_and_no_page_is_read_twice(tmp_path: Path, monkeypatch):
    write_warc(tmp_path / "a.warc.gz", pages(50))
    monkeypatch.setattr(extract, "SLICE_BYTES", 2000)
    slices = plan_slices([tmp_path / "a.warc.gz"])

    found = [each.url for path, part, parts in slices for each in read_pages(path, part, parts)]

    assert len(slices) > 2
    assert sorted(found) == sorted(pages(50))


def test_damage_costs_the_records_it_hits_and_is_counted(tmp_path: Path, phase):
    write_warc(tmp_path / "pages" / "a.warc.gz", pages(50))
    data = bytearray((tmp_path / "pages" / "a.warc.gz").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 20] = bytes(20)
    (tmp_path / "pages" / "a.warc.gz").write_bytes(data)

    counts = run(tmp_path, phase("extract"))

    assert counts.dropped == {"damaged": 1}
    assert counts.documents_out >= 48
    [lost] = read_documents(tmp_path / "dropped" / "extract" / "damaged" / "00000.jsonl.zst")
    assert "a.warc.gz" in lost.metadata["detail"]


def test_records_that_never_were_pages_are_counted_but_not_called_lost(tmp_path: Path, phase):
    captures: list[dict[str, Any]] = [
        {"url": "http://example.org/page", "body": page(1)},
        {"url": "http://example.org/gone", "body": page(2), "status": "404 Not Found"},
        {"url": "http://example.org/moved", "body": b"", "status": "301 Moved Permanently"},
        {"url": "http://example.org/image", "body": b"\x89PNG\r\n\x1a\n" + bytes(99), "type": "image/png"},
    ]
    write_archive(tmp_path / "pages" / "a.warc.gz", captures)

    counts = run(tmp_path, phase("extract"), most_lost=0.0)

    assert (counts.documents_in, counts.documents_out) == (4, 1)
    assert counts.dropped == {"http-404": 1, "http-301": 1, "content-type": 1}


def test_the_lost_are_a_share_of_the_pages_not_of_all_records(tmp_path: Path, phase):
    missing = [{"url": f"http://example.org/{n}", "body": b"", "status": "404 Not Found"} for n in range(98)]
    captures: list[dict[str, Any]] = [
        *missing,
        {"url": "http://example.org/page", "body": page(1)},
        {"url": "http://example.org/empty", "body": b"<html><body></body></html>"},
    ]
    write_archive(tmp_path / "pages" / "a.warc.gz", captures)

    with pytest.raises(StageError, match=r"1 of 2 pages gave no text \(empty 1\)"):
        run(tmp_path, phase("extract"))


def test_a_wrong_charset_costs_characters_which_are_counted(tmp_path: Path, phase):
    body = "<html><body><p>Grüße aus Köln, und einen schönen Tag noch.</p></body></html>".encode("cp1252")
    write_warc(tmp_path / "pages" / "a.warc.gz", {"http://example.org/1": body})

    counts = run(tmp_path, phase("extract"))

    assert counts.extra["undecodable_characters"] == 4


def test_tidy_text_has_plain_spaces_and_single_blank_lines():
    assert tidy("a\u00a0b  \r\n\t\r\n\r\n\r\n  c\x00\ud800\n") == "a b\n\n  c"


@pytest.mark.parametrize("text", [" " * 3_000_000 + "x", "\n" * 3_000_000 + "x", " \t\n" * 1_000_000 + "x"])
def test_tidying_takes_time_in_proportion_to_the_text(text: str):
    assert tidy(text).endswith("x")


@given(st.text())
def test_tidying_twice_changes_nothing_more_and_leaves_valid_text(text: str):
    assert tidy(tidy(text)) == tidy(text)
    tidy(text).encode()
