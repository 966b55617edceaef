import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.stored.decoding import decode

GREETING = "Grüße aus Köln"
LABELS = [
    *("utf-8", "utf-16", "utf-16be", "latin1", "windows-1251", "koi8-u", "ibm866", "macintosh", "tis-620"),
    *("gb2312", "gb18030", "big5", "euc-jp", "iso-2022-jp", "shift_jis", "euc-kr", "iso-8859-8-i"),
]
# What Python would decode by, and what nobody can: names that a server may send, none of them an encoding.
NO_LABELS = [
    *("utf-7", "unicode_escape", "raw_unicode_escape", "idna", "punycode", "zlib", "rot13", "hex", "mbcs"),
    *("utf-32", "no-such-encoding", "replacement", "x-user-defined", "utf-8\x00", "\x00", "", " "),
    *("charset", "\ud800", "ＵＴＦ-8", "../../etc/passwd", "x" * 10_240, "utf-8" * 2048),
]


@pytest.mark.parametrize(
    ("page", "http_charset"),
    [
        (GREETING.encode(), "utf-8"),
        (GREETING.encode(), " UTF8 "),
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
    ("text", "encoding", "label"),
    [
        ("①㈱", "cp932", "shift_jis"),
        ("똠방각하", "cp949", "euc-kr"),
        ("镕基", "gb18030", "gb2312"),
        ("€ “”", "cp874", "iso-8859-11"),
        ("着嘅", "big5hkscs", "big5"),
    ],
)
def test_a_label_means_what_the_standard_means_by_it(text: str, encoding: str, label: str):
    assert decode(text.encode(encoding), label) == text


@pytest.mark.parametrize(
    "tag", [b'<meta charset="windows-1251">', b"<meta http-equiv=x content='text/html; charset=cp1251'>"]
)
def test_a_meta_tag_is_used_where_the_header_says_nothing(tag: bytes):
    assert "Привет" in decode(tag + "Привет".encode("cp1251"), None)


@pytest.mark.parametrize("label", ["unicode_escape", "x" * 10_240, "nothing"])
def test_a_meta_tag_with_a_name_that_is_no_encoding_is_as_good_as_none(label: str):
    page = f"<meta charset='{label}'>\\u0041 {GREETING}"

    assert decode(page.encode(), None) == page


def test_the_header_outranks_the_meta_tag():
    assert decode(b'<meta charset="windows-1251">' + GREETING.encode(), "utf-8").endswith(GREETING)


def test_a_page_that_claims_utf_16_in_plain_bytes_is_utf_8():
    assert decode(b'<meta charset="utf-16">' + GREETING.encode(), None).endswith(GREETING)


def test_without_any_label_the_bytes_are_asked():
    russian = "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему."

    assert decode(russian.encode("koi8-r"), None) == russian


@pytest.mark.parametrize("label", NO_LABELS, ids=range(len(NO_LABELS)))
def test_a_name_that_is_no_web_encoding_changes_nothing(label: str):
    page = b"plain \\u0041 +AGE- xn--bcher-kva text"

    assert decode(page, label) == page.decode()


@given(st.binary(max_size=300), st.sampled_from([None, *LABELS, *NO_LABELS]) | st.text(max_size=20))
def test_no_bytes_and_no_label_raise_and_the_text_is_the_same_each_time(
    page: bytes, http_charset: str | None
):
    assert decode(page, http_charset) == decode(page, http_charset)


@given(st.sampled_from([*LABELS, *NO_LABELS]), st.binary(max_size=200))
def test_no_meta_tag_raises(label: str, rest: bytes):
    tag = f'<meta charset="{label}">'.encode(errors="replace")

    assert isinstance(decode(tag + rest, None), str)
