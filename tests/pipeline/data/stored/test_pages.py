"""WARC files of anybody, whole and damaged: every response is read once, or counted under a reason."""

import functools
import gzip
import io
import logging
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from fastwarc.warc import ArchiveIterator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from warcio.archiveiterator import ArchiveIterator as WarcioIterator
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from pipeline.data.stored import pages as reading
from pipeline.data.stored.pages import Page, Unreadable, check_sizes, read_pages
from pipeline.errors import FormatError
from tests.pipeline.data.conftest import write_warc

URLS = [f"http://example.org/{number}" for number in range(40)]


def html(number: int) -> bytes:
    """Return a page of some hundred incompressible bytes, so that members differ in length."""
    return f"<html><body><p>{number}: {(number * 7919 + 13) ** (20 + 3 * number)}</p></body></html>".encode()


@functools.cache
def whole_file(compressed: bool) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.warc.gz"
        write_warc(path, {url: html(number) for number, url in enumerate(URLS)})
        return path.read_bytes() if compressed else gzip.decompress(path.read_bytes())


def write(path: Path, compressed: bool = True) -> None:
    path.write_bytes(whole_file(compressed))


@pytest.fixture(params=[True, False], ids=["gzip", "plain"])
def warc(request, tmp_path: Path) -> Path:
    path = tmp_path / "a.warc.gz"
    write(path, compressed=request.param)
    return path


def starts(path: Path) -> list[int]:
    with path.open("rb") as file:
        return [record.stream_pos for record in ArchiveIterator(file, parse_http=False)] + [
            path.stat().st_size
        ]


def read(path: Path, parts: int = 1) -> list[Page | Unreadable]:
    return [each for part in range(parts) for each in read_pages(path, part, parts)]


def urls(found: list[Page | Unreadable]) -> list[str]:
    return [each.url for each in found if isinstance(each, Page)]


def reasons(found: list[Page | Unreadable]) -> Counter[str]:
    return Counter(each.reason for each in found if isinstance(each, Unreadable))


def damage(path: Path, place: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(data)


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 40, 1000])
def test_each_response_is_in_one_slice(warc: Path, parts: int):
    found = read(warc, parts)

    assert [(each.url, each.body) for each in found] == [(url, html(n)) for n, url in enumerate(URLS)]


@pytest.mark.parametrize(
    ("compressed", "where"),
    # What is inside an uncompressed record is its own affair: there is no checksum over it.
    [(True, "start"), (True, "middle"), (True, "end"), (False, "start")],
)
@pytest.mark.parametrize("parts", [1, 5])
def test_a_damaged_record_costs_itself_alone_and_is_counted(
    tmp_path: Path, compressed: bool, where: str, parts: int
):
    path = tmp_path / "a.warc.gz"
    write(path, compressed)
    places = starts(path)
    place = {"start": places[20] + 1, "middle": (places[20] + places[21]) // 2, "end": places[21] - 6}[where]
    damage(path, place, b"\x55\xaa\x55\xaa")

    found = read(path, parts)

    assert urls(found) == URLS[:20] + URLS[21:]
    assert reasons(found) == {"damaged": 1}


def test_a_wrong_length_costs_the_record_that_says_it(tmp_path: Path):
    path = tmp_path / "a.warc"
    write(path, compressed=False)
    place = path.read_bytes().index(b"Content-Length: ", starts(path)[20]) + len("Content-Length: ")
    damage(path, place, b"9")

    assert urls(read(path)) == URLS[:20] + URLS[21:]
    assert reasons(read(path, 7)) == {"damaged": 1}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0, 1), st.binary(min_size=1, max_size=400), st.integers(1, 12), st.booleans())
def test_any_damage_is_counted_once_however_a_file_is_sliced(tmp_path: Path, at, junk, parts, compressed):
    path = tmp_path / "a.warc.gz"
    write(path, compressed)
    damage(path, int(at * (path.stat().st_size - len(junk))), junk)
    logging.disable()

    whole, sliced = read(path), read(path, parts)

    logging.disable(logging.NOTSET)
    assert urls(sliced) == urls(whole)
    assert reasons(sliced) == reasons(whole)
    if compressed:
        lost = len(URLS) - len(urls(whole))
        assert lost <= 2, "no more than the two records that so few bytes can touch"
        assert reasons(whole).total() >= (lost > 0)


@pytest.mark.parametrize("into_record", [1, 5, 200])
@pytest.mark.parametrize("parts", [1, 4])
def test_a_file_that_ends_within_a_record_is_noticed(warc: Path, into_record: int, parts: int):
    with warc.open("r+b") as file:
        file.truncate(starts(warc)[30] + into_record)

    found = read(warc, parts)

    assert urls(found) == URLS[:30]
    assert reasons(found) == {"truncated": 1} or into_record == 1
    assert reasons(found).total() == 1


def test_a_file_of_ours_that_was_cut_between_records_is_noticed_by_its_log(tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    write(tmp_path / "a.warc.gz")
    places = starts(tmp_path / "a.warc.gz")
    rows = {
        "warc": ["a.warc.gz"] * 40 + [None],
        "offset": [*places[:-1], None],
        "length": [later - earlier for earlier, later in zip(places, places[1:], strict=False)] + [None],
    }
    pq.write_table(pa.table(rows), tmp_path / "fetch-log.parquet")
    check_sizes(tmp_path)

    with (tmp_path / "a.warc.gz").open("r+b") as file:
        file.truncate(places[30])

    assert reasons(read(tmp_path / "a.warc.gz")) == {}
    with pytest.raises(
        FormatError, match=rf"{places[30]} bytes, but fetch-log.parquet tells of {places[40]}"
    ):
        check_sizes(tmp_path)


@pytest.mark.parametrize(
    "data",
    [b"", b"hello " * 100, gzip.compress(b"hello" * 100, mtime=0), b"\x28\xb5\x2f\xfd" + bytes(50)],
    ids=["empty", "text", "gzip", "zstd"],
)
def test_what_is_no_warc_file_is_an_error(tmp_path: Path, data: bytes):
    (tmp_path / "a.warc.gz").write_bytes(data)

    with pytest.raises(FormatError, match=r"a\.warc\.gz: (not a WARC file|empty)"):
        read(tmp_path / "a.warc.gz")


def test_a_file_compressed_as_a_whole_is_refused_with_the_remedy(tmp_path: Path):
    write(tmp_path / "a.warc.gz", compressed=False)
    (tmp_path / "a.warc.gz").write_bytes(gzip.compress((tmp_path / "a.warc.gz").read_bytes()))

    with pytest.raises(FormatError, match=r"compressed as a whole.*`warcio recompress"):
        read(tmp_path / "a.warc.gz")


def test_only_responses_count_whatever_else_there_is(tmp_path: Path):
    with (tmp_path / "a.warc.gz").open("wb") as file:
        writer = WARCWriter(file, gzip=True)

        def add(kind: str, url: str, body: bytes, **options) -> None:
            block = {"payload": io.BytesIO(body), "length": len(body), **options}
            writer.write_record(writer.create_warc_record(url, kind, **block))

        ok = {
            "http_headers": StatusAndHeaders("200 OK", [("Content-Type", "text/html")], protocol="HTTP/1.1")
        }
        gone = {"http_headers": StatusAndHeaders("410 Gone", [], protocol="HTTP/1.1")}
        writer.write_record(writer.create_warcinfo_record("a.warc.gz", {"software": "a test"}))
        for kind in ("metadata", "resource", "conversion"):
            add(kind, f"http://example.org/{kind}", b"not asked for")
        add("request", "http://example.org/page", b"", http_headers=StatusAndHeaders("GET / HTTP/1.1", []))
        add("revisit", "http://example.org/page", b"", **gone)
        add("response", "http://example.org/page", html(1), **ok)
        add("response", "http://example.org/gone", b"", **gone)
        add("response", "dns:example.org", b"20240425 A 192.0.2.1", warc_content_type="text/dns")

    found = read(tmp_path / "a.warc.gz")

    assert urls(found) == ["http://example.org/page"]
    assert [(each.reason, each.url) for each in found[1:]] == [
        ("http-410", "http://example.org/gone"),
        ("not-http", "dns:example.org"),
    ]


def test_a_record_too_large_for_memory_is_passed_over(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_BYTES", 1 << 20)
    bodies = {"http://example.org/big": b"<p>" + bytes(32 << 20), "http://example.org/small": b"<p>small"}
    write_warc(tmp_path / "a.warc.gz", bodies)

    found = read(tmp_path / "a.warc.gz")

    assert urls(found) == ["http://example.org/small"]
    assert reasons(found) == {"body-too-large": 1}


def test_a_header_that_only_looks_like_ours_is_not_believed(tmp_path: Path):
    write_warc(tmp_path / "a.warc", {"http://example.org/A?utm_source=x": b"<p>page"})
    plain = gzip.decompress((tmp_path / "a.warc").read_bytes())
    (tmp_path / "a.warc").write_bytes(
        plain.replace(b"WARC-Type", b"Loglinear-Log: {not json\r\nWARC-Type", 1)
    )

    [page] = read(tmp_path / "a.warc")

    assert isinstance(page, Page)
    assert page.canonical_url == "http://example.org/A"


def warcio_pages(path: Path) -> list[tuple[str, bytes]]:
    with path.open("rb") as file:
        return [
            (record.rec_headers.get_header("WARC-Target-URI").strip("<>"), record.content_stream().read())
            for record in WarcioIterator(file)
            if record.rec_type == "response" and record.http_headers.get_statuscode() == "200"
        ]


REAL = {
    "dolma/tests/data/warc/sample-0000.warc.gz": 22,
    "dolma/tests/data/warc/sample-0001.warc.gz": 15,
    "resiliparse/tests/data/warcfile.warc": 16,
    "resiliparse/tests/data/warcfile.warc.gz": 16,
    "resiliparse/tests/data/clueweb-quirk.warc.gz": 29,
    "warcio/test/data/example-iana.org-chunked.warc": 1,
    "warcio/test/data/example-wget-bad-target-uri.warc.gz": 1,
    "warcio/test/data/example.warc": 1,
    "warcio/test/data/example.warc.gz": 1,
}


@pytest.mark.real_data
@pytest.mark.parametrize("name", REAL)
def test_pages_of_real_files_are_those_that_warcio_reads(real_data: Path, name: str):
    path = real_data / "web" / "warc" / name

    found = [(each.url, each.body) for each in read(path, 3) if isinstance(each, Page)]

    assert len(found) == REAL[name]
    assert found == warcio_pages(path)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resiliparse/tests/data/clipped.warc.gz", {"truncated": 1}),
        ("warcio/test/data/example-trunc.warc", {"damaged": 1}),
        ("warcio/test/data/post-test.warc.gz", {"content-type": 3}),
        ("resiliparse/tests/data/block-sized-records.warc.gz", {}),
        ("warcio/test/data/example-resource.warc.gz", {}),
    ],
)
def test_real_files_with_faults_are_counted_under_them(real_data: Path, name: str, expected: dict[str, int]):
    assert reasons(read(real_data / "web" / "warc" / name)) == expected


@pytest.mark.real_data
def test_a_real_file_compressed_as_a_whole_is_refused(real_data: Path):
    with pytest.raises(FormatError, match="compressed as a whole"):
        read(real_data / "web" / "warc" / "warcio" / "test" / "data" / "example-bad-non-chunked.warc.gz")
