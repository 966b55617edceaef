import io
from pathlib import Path

import orjson
import pytest
from fastwarc.warc import ArchiveIterator
from hypothesis import given, settings
from hypothesis import strategies as st
from warcio.archiveiterator import ArchiveIterator as WarcioIterator

from pipeline.data.crawl.warc import LOG_HEADER, Page, WarcFiles, digest, member, record, repair

LINE_ENDS = st.sampled_from(
    ["\r\n", "\n", "\r", "\r\n\r\n", "\r\n\r\nWARC/1.1\r\nWARC-Type: response\r\n", "\x85", "\u2028"]
)
EVIL = st.lists(st.text(max_size=20) | LINE_ENDS, max_size=5).map("".join)
TOKENS = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,15}", fullmatch=True)


def page(payload: bytes = b"<html>words", **more) -> Page:
    known = {"url": "http://one.test/", "status": 200, "phrase": "OK", "headers": [], "log": {"url": "x"}}
    return Page(
        **{"payload": payload, "digest": digest(payload), "identified_type": "text/html", **known, **more}
    )


def one_line(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text).strip()


@settings(max_examples=200)
@given(
    headers=st.lists(st.tuples(TOKENS | EVIL.map(lambda name: f"X{name}"), EVIL), max_size=8),
    phrase=EVIL,
    payload=st.binary(max_size=200) | st.just(b"\r\n\r\nWARC/1.1\r\nWARC-Type: warcinfo\r\n\r\n"),
    link=EVIL,
)
def test_what_is_read_again_is_what_was_written_whatever_a_server_sends(headers, phrase, payload, link):
    written = member(record(page(payload, headers=headers, phrase=phrase, log={"url": link})), 2)

    [(fields, http, read)] = [
        (dict(found.headers), found.http_headers, found.reader.read())
        for found in ArchiveIterator(io.BytesIO(written), parse_http=True, verify_digests=True)
    ]
    assert (read, http.status_code) == (payload, 200)
    assert fields["WARC-Type"] == "response"
    assert fields["WARC-Target-URI"] == "http://one.test/"
    assert orjson.loads(fields[LOG_HEADER]) == {"url": link}
    assert len(list(http)) == len(headers) + 1


@given(
    headers=st.lists(st.tuples(TOKENS, EVIL), max_size=8),
    payload=st.binary(max_size=200),
)
def test_warcio_reads_the_same(headers, payload):
    written = member(record(page(payload, headers=headers)), 2)

    [found] = [
        (each, each.content_stream().read())
        for each in WarcioIterator(io.BytesIO(written), check_digests="raise")
    ]

    assert found[1] == payload
    values = [value for name, value in found[0].http_headers.headers if name.startswith(("X-Crawler-", ""))]
    assert values[:-1] == [one_line(value) for _, value in headers]


def files(folder: Path, **more) -> WarcFiles:
    return WarcFiles(folder, "007", **{"max_bytes": 1 << 20, "gzip_level": 2, "software": "test/1", **more})


def test_a_file_begins_with_what_wrote_it_and_every_record_is_a_gzip_member(tmp_path):
    written = files(tmp_path)
    places = [written.append(member(record(page(b"%d" % n)), 2)) for n in range(3)]
    written.close()

    path = tmp_path / "007-00000.warc.gz"
    with path.open("rb") as file:
        types = [found.headers["WARC-Type"] for found in ArchiveIterator(file, parse_http=False)]
    assert types == ["warcinfo", "response", "response", "response"]
    assert [place for place, _ in repair(path)] == places


def test_a_new_crawl_begins_a_new_file_also_where_an_old_one_was_removed(tmp_path):
    def crawl() -> str:
        written = files(tmp_path)
        place = written.append(b"record")
        written.close()
        return place.warc

    names = [crawl() for _ in range(3)]
    (tmp_path / names[1]).unlink()

    assert [*names, crawl()] == [f"007-{number:05d}.warc.gz" for number in range(4)]


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_torn_record_is_cut_off(tmp_path, cut):
    written = files(tmp_path)
    places = [written.append(member(record(page(b"%d" % n)), 2)) for n in range(3)]
    written.close()
    path = tmp_path / "007-00000.warc.gz"
    path.write_bytes(path.read_bytes()[:-cut])

    assert [place for place, _ in repair(path)] == places[:2]
    assert path.stat().st_size == places[2].offset
