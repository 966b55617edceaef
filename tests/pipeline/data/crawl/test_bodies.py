import gzip
import sys
import zlib

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.crawl.bodies import Body, BodyRefusedError, identified_type

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


ENCODERS = {
    "identity": bytes,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
}
CAP = 1 << 20


def decoded(encoding: str, wire: bytes, *, max_bytes: int = CAP, piece: int = 1 << 14) -> bytes:
    body = Body(encoding, max_bytes=max_bytes, max_ratio=100)
    for start in range(0, len(wire), piece):
        body.add(wire[start : start + piece])
    return body.payload()


@pytest.mark.parametrize("encoding", ENCODERS)
@given(data=st.binary(max_size=2000), piece=st.integers(1, 50))
def test_a_body_comes_out_as_it_went_in_however_it_is_cut(encoding, data, piece):
    wire = ENCODERS[encoding](data)

    assert decoded(encoding, wire, piece=piece) == data


def test_several_layers_and_members_are_undone():
    data = b"<html>hello</html>" * 5000

    assert decoded("gzip, br", brotli.compress(gzip.compress(data))) == data
    assert decoded("gzip", gzip.compress(data) + gzip.compress(data) + b"\0\0junk") == data + data
    assert decoded("deflate", raw_deflate(data)) == data


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_a_bomb_is_refused_at_the_cap_and_not_after(encoding):
    bomb = ENCODERS[encoding](bytes(16 << 20))
    body = Body(encoding, max_bytes=CAP, max_ratio=1e9)

    with pytest.raises(BodyRefusedError, match="body-too-large"):
        body.add(bomb)

    assert len(body) <= CAP + (1 << 17)


def test_a_bomb_below_the_cap_is_refused_for_its_ratio():
    with pytest.raises(BodyRefusedError, match="compression-ratio"):
        decoded("gzip", gzip.compress(bytes(8 << 20)), max_bytes=16 << 20)


def test_a_bomb_inside_a_bomb_is_counted_at_every_layer():
    inner = gzip.compress(bytes(32 << 20))

    with pytest.raises(BodyRefusedError):
        decoded("gzip, gzip", gzip.compress(inner))


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_a_broken_or_cut_body_is_refused(encoding):
    wire = ENCODERS[encoding](bytes(range(256)) * 100)

    with pytest.raises(BodyRefusedError, match="decoding"):
        decoded(encoding, wire[: len(wire) // 2])
    with pytest.raises(BodyRefusedError, match="decoding"):
        decoded(encoding, b"<html>this was never compressed</html>" * 10)


@pytest.mark.parametrize("encoding", ["compress", "gzip, gzip, gzip", "x" * 1000])
def test_an_encoding_nobody_asked_for_is_refused(encoding):
    with pytest.raises(BodyRefusedError, match="content-encoding"):
        Body(encoding, max_bytes=CAP, max_ratio=100)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"<!DOCTYPE html><html>", "text/html"),
        (b"\xef\xbb\xbf \n<p>part of a page</p>", "text/html"),
        (b'<?xml version="1.0"?>\n<html xmlns="http://www.w3.org/1999/xhtml">', "application/xhtml+xml"),
        ("\ufeff<html>".encode("utf-16-le"), "text/html"),
        (b"plain words", "text/plain"),
        (b'<?xml version="1.0"?><rss/>', "text/plain"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n\x00\x01", "application/octet-stream"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "application/octet-stream"),
    ],
)
def test_a_payload_is_told_by_its_first_bytes(payload, expected):
    assert identified_type(payload) == expected
