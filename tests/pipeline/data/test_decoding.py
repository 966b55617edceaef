import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.decoding import decode

GREETING = "Grüße aus Köln"


@pytest.mark.parametrize(
    ("page", "http_charset"),
    [
        (GREETING.encode(), "utf-8"),
        (GREETING.encode("cp1252"), "ISO-8859-1"),  # the standard reads this label as windows-1252
        (codecs.BOM_UTF8 + GREETING.encode(), "iso-8859-1"),  # the mark outranks the header
        (codecs.BOM_UTF16_LE + GREETING.encode("utf-16-le"), None),
        (codecs.BOM_UTF16_BE + GREETING.encode("utf-16-be"), "utf-8"),
        (GREETING.encode(), None),
        (GREETING.encode(), "no-such-encoding"),
    ],
)
def test_a_page_is_read_as_browsers_read_it(page: bytes, http_charset: str | None):
    assert decode(page, http_charset) == GREETING


@pytest.mark.parametrize(
    "tag", [b'<meta charset="windows-1251">', b"<meta http-equiv=x content='text/html; charset=cp1251'>"]
)
def test_a_meta_tag_is_used_where_the_header_says_nothing(tag: bytes):
    assert "Привет" in decode(tag + "Привет".encode("cp1251"), None)


def test_the_header_outranks_the_meta_tag():
    assert decode(b'<meta charset="windows-1251">' + GREETING.encode(), "utf-8").endswith(GREETING)


def test_a_page_that_claims_utf_16_in_plain_bytes_is_utf_8():
    assert decode(b'<meta charset="utf-16">' + GREETING.encode(), None).endswith(GREETING)


@pytest.mark.parametrize("label", ["zlib", "unicode_escape", "rot13", "idna", "raw_unicode_escape", "utf-7"])
def test_python_codecs_that_are_no_web_encodings_are_never_used(label: str):
    assert decode(b"plain \\u0041 +AGE- text", label) == "plain \\u0041 +AGE- text"


@given(st.binary(max_size=300), st.none() | st.text(max_size=20))
def test_no_bytes_and_no_label_raise(page: bytes, http_charset: str | None):
    assert isinstance(decode(page, http_charset), str)
