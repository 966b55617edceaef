import lzma

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from surt import surt as internet_archive_surt

from pipeline.data import url as module
from pipeline.data.url import UrlError, canonical, registered_domain, surt, target, url_hash


@pytest.mark.parametrize(
    ("given_url", "expected"),
    [
        ("HTTP://Example.COM:80/a/../b?b=2&utm_source=x&a=1#part", "http://example.com/b?a=1&b=2"),
        ("https://example.com:443", "https://example.com/"),
        ("https://example.com:8443/x", "https://example.com:8443/x"),
        ("http://bücher.example./%7euser/%c3%a4", "http://xn--bcher-kva.example/~user/%C3%A4"),
        ("http://example.com./", "http://example.com/"),
        ("http://example.com/?fbclid=1&UTM_Medium=2", "http://example.com/"),
        ("http://example.com/watch?v=1&gclid=2", "http://example.com/watch?v=1"),
        ("http://example.com/a?b=1&&a=%2f", "http://example.com/a?a=%2F&b=1"),
        ("  http://example.com/a b ", "http://example.com/a%20b"),
        ("http://127.1/", "http://127.0.0.1/"),
        ("http://0x7f000001/", "http://127.0.0.1/"),
        ("http://2130706433/", "http://127.0.0.1/"),
        ("http://0177.0.0.1/", "http://127.0.0.1/"),
        ("http://１２７.0.0.1/", "http://127.0.0.1/"),
        ("http://127.0.0.1\\@evil.example/", "http://127.0.0.1/@evil.example/"),
        ("http://1.2.3../", "http://1.2.0.3/"),
        ("http://example.com/%%34%31", "http://example.com/%2541"),
    ],
)
def test_different_spellings_of_an_address_become_one(given_url, expected):
    assert canonical(given_url) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ftp://example.com/", "not-http"),
        ("file:///etc/passwd", "not-http"),
        ("javascript:alert(1)", "not-http"),
        ("http://user:secret@example.com/", "credentials"),
        ("http://", "bad-url"),
        ("", "bad-url"),
        ("no address", "bad-url"),
        ("http://exa\tmple.com/", "bad-url"),
        ("http://example.com/\r\nHost: evil", "bad-url"),
        ("http://example.com/\x00", "bad-url"),
        ("http://example.com:99999/", "bad-url"),
        ("http://[::1", "bad-url"),
        ("http://./", "bad-url"),
        ("http://example.com/" + "a" * 2100, "url-too-long"),
    ],
)
def test_what_is_no_address_of_a_page_is_refused_with_a_reason(text, reason):
    with pytest.raises(UrlError) as refused:
        canonical(text)

    assert refused.value.reason == reason


_PIECES = st.text(st.sampled_from("aB0.-_~%/?&=#;:+@ é[]\\'\"<>|^`{}\t漢"), max_size=30)
_HOSTS = st.one_of(
    st.from_regex(r"[a-zA-Z0-9.-]{1,20}", fullmatch=True),
    st.from_regex(r"(www\.)?[a-z]{1,8}\.[a-z]{2,4}(:\d{1,5})?", fullmatch=True),
    st.ip_addresses(v=4).map(str),
)
_URLS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["http://", "https://", "HTTP://"]),
    _HOSTS,
    st.sampled_from(["", "/"]),
    _PIECES,
)


@given(_URLS)
def test_a_canonical_url_is_its_own_canonical_url(text):
    try:
        once = canonical(text)
    except UrlError:
        return

    assert canonical(once) == once
    assert target(once).href == once


@given(_URLS)
def test_the_short_way_and_the_parser_agree(text):
    simple = module._SIMPLE.fullmatch(text)
    if simple is None:
        return
    parsed = module._parse(text)

    assert parsed.protocol + "//" + parsed.host + parsed.pathname == text.partition("?")[0] + (
        "" if simple[1] else "/"
    )
    assert canonical(text) == canonical(text + "#part")  # the part keeps it off the short way
    assert target(text) == target(text + "#part")


@given(_URLS)
def test_our_sort_key_is_the_internet_archives(text):
    try:
        key = canonical(text)
    except UrlError:
        return

    assert surt(key) == internet_archive_surt(key)


def test_an_order_of_urls_never_changes():
    # blake2b-64 of the UTF-8 text, from `python -c 'hashlib.blake2b(b"http://example.com/", digest_size=8)'`
    assert f"{url_hash('http://example.com/'):016x}" == "fb2241160c9dad06"


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("news.bbc.co.uk", "bbc.co.uk"),
        ("example.com", "example.com"),
        ("a.b.github.io", "github.io"),
        ("docs.loglinear.test", "loglinear.test"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("localhost", "localhost"),
    ],
)
def test_the_registered_domain_comes_from_the_list_in_the_wheel(host, domain):
    assert registered_domain(host) == domain


@pytest.mark.real_data
def test_urls_of_a_real_dump_keep_their_key(real_data):
    with lzma.open(real_data / "web" / "pushshift" / "RS_v2_2005-07.xz") as lines:
        urls = [canonical(row["url"]) for row in map(orjson.loads, lines) if row["url"].startswith("http")]

    assert len(urls) > 1000
    assert [url for url in urls if canonical(url) != url] == []
    assert [url for url in urls if surt(url) != internet_archive_surt(url)] == []
