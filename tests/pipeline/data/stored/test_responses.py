"""Stored HTTP responses of every sort that other people's WARC files hold."""

import gzip
import os
import sys
import zlib

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.stored import responses
from pipeline.data.stored.responses import NoPageError, parse, unchunked

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PAGE = b"<!doctype html><html><body>" + b"words and words. " * 20 + b"</body></html>"


def response(body: bytes = PAGE, *lines: str, status: str = "200 OK", end: bytes = b"\r\n") -> bytes:
    head = [f"HTTP/1.1 {status}", *(lines or ["Content-Type: text/html"])]
    return end.join([*(line.encode("latin-1") for line in head), b"", body])


def chunked(body: bytes, size: int) -> bytes:
    pieces = [body[place : place + size] for place in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""])


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_a_page_is_what_stands_behind_its_headers(end: bytes):
    parsed = parse(response(PAGE, "Content-Type: text/html; charset=EUC-JP", "X-Odd: caf\xe9", end=end))

    assert (parsed.status, parsed.charset, parsed.payload()) == (200, "EUC-JP", PAGE)


@pytest.mark.parametrize(
    ("value", "charset"),
    [
        ('text/html; Charset="windows-1251"', "windows-1251"),
        ("text/html;charset='koi8-r' ; x=y", "koi8-r"),
        ("text/html; charset = utf-8", "utf-8"),
        ("text/html;\r\n charset=big5", "big5"),
        ("text/html", None),
    ],
)
def test_the_declared_charset_is_kept(value: str, charset: str | None):
    assert parse(response(PAGE, f"content-type: {value}")).charset == charset


ENCODERS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": lambda body: brotli.compress(body, quality=3),
    "zstd": zstd.compress,
    "gzip, br": lambda body: brotli.compress(gzip.compress(body)),
}


@pytest.mark.parametrize("encoding", ENCODERS)
def test_bodies_are_unpacked_as_their_headers_say(encoding: str):
    packed = chunked(ENCODERS[encoding](PAGE), 50)

    parsed = parse(
        response(
            packed, "Content-Type: text/html", "Transfer-Encoding: chunked", f"Content-Encoding: {encoding}"
        )
    )

    assert parsed.payload() == PAGE


@pytest.mark.parametrize("encoding", ENCODERS)
@pytest.mark.parametrize("size", [65_536, 65_537, 98_272, 300_000])
def test_large_bodies_come_whole(encoding: str, size: int):
    page = b"<html>" + os.urandom(size // 4).hex().encode() + bytes(b" " * (size // 2))

    parsed = parse(
        response(ENCODERS[encoding](page), "Content-Type: text/html", f"Content-Encoding: {encoding}")
    )

    assert parsed.payload() == page


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "deflate", "unheard-of"])
def test_bodies_that_were_unpacked_under_their_old_headers_are_taken_as_they_are(encoding: str):
    lines = ["Content-Type: text/html", "Transfer-Encoding: chunked", f"Content-Encoding: {encoding}"]

    assert parse(response(PAGE, *lines)).payload() == PAGE


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
@pytest.mark.parametrize(
    ("limit", "value", "reason"),
    [("MAX_BYTES", 1 << 20, "body-too-large"), ("MAX_RATIO", 100.0, "compression-ratio")],
)
def test_a_stored_bomb_is_not_inflated(monkeypatch, encoding: str, limit: str, value: float, reason: str):
    monkeypatch.setattr(responses, "MAX_RATIO", 1e9)
    monkeypatch.setattr(responses, limit, value)
    bomb = ENCODERS[encoding](bytes(8 << 20))

    with pytest.raises(NoPageError) as refused:
        parse(response(bomb, "Content-Type: text/html", f"Content-Encoding: {encoding}")).payload()

    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (response(status="404 Not Found"), "http-404"),
        (response(status="206 Partial Content"), "http-206"),
        (response(b"\x89PNG", "Content-Type: image/png"), "content-type"),
        (response(b"\x89PNG\r\n\x1a\n\x00\x00"), "content-type"),
        (response(b"%PDF\x00", "X-No-Type: 1"), "content-type"),
        (
            response(gzip.compress(PAGE)[:-20], "Content-Type: text/html", "Content-Encoding: gzip"),
            "decoding",
        ),
        (
            response(b"\x1f\x8b" + bytes(50), "Content-Type: text/html", "Content-Encoding: sdch"),
            "content-encoding",
        ),
        (b"20240425\nexample.org. 300 IN A 192.0.2.1", "not-http"),
        (b"", "not-http"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * (1 << 20), "headers-too-large"),
    ],
)
def test_what_is_no_page_is_named(block: bytes, reason: str):
    with pytest.raises(NoPageError) as fault:
        parse(block).payload()

    assert fault.value.reason == reason


@given(st.binary(max_size=300), st.integers(1, 100))
def test_chunks_of_any_size_make_the_body_again(body: bytes, size: int):
    assert bytes(unchunked(memoryview(chunked(body, size)))) == body


@given(st.binary(max_size=200))
def test_no_block_makes_anything_else_than_a_page_or_a_reason(block: bytes):
    try:
        parse(b"HTTP/1.1 200 OK\r\n" + block).payload()
    except NoPageError as fault:
        assert fault.reason


def test_a_body_that_ends_within_its_chunks_is_kept_as_far_as_it_came():
    packed = chunked(PAGE, 100)[:250]

    found = parse(response(packed, "Content-Type: text/html", "Transfer-Encoding: chunked")).payload()

    assert PAGE.startswith(found)
    assert len(found) > 200
