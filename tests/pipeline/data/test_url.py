import lzma

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@pytest.fixture(scope="module")
def internet_archive():
    return pytest.importorskip("surt", reason="the Internet Archive's package is an oracle, not a dependency")


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


_SIMPLE_URLS = st.from_regex(module._SIMPLE, fullmatch=True, alphabet=st.characters(codec="ascii"))


@given(st.one_of(_SIMPLE_URLS, _URLS))
def test_the_short_way_and_the_parser_agree(text):
    simple = module._simple(text)
    if simple is None:
        return
    parsed = module._parse(text)
    path = text[simple.start(1) :].partition("#")[0] if simple[1] else f"/{simple[2] or ''}"

    assert f"{parsed.protocol}//{parsed.host}" == text[: len(f"{parsed.protocol}//{parsed.host}")]
    assert parsed.pathname + parsed.search.removesuffix("?") == path.removesuffix("?")
    assert canonical(text) == module._canonical_by_parser(text)
    assert target(text).host == parsed.hostname


# Where the Internet Archive's canonicalizer does more than to turn a host round.
_ID24, _ID32 = "aB3" * 8, "0aF4" * 8
_ODD_PIECES = st.sampled_from(
    [
        *(
            "/",
            "//",
            ".",
            "..",
            "/./",
            "%2e",
            "%2F",
            "%252e",
            "%25",
            "%3f",
            "%0A",
            "%C3%A4",
            "%zz",
            "%41",
            "?",
        ),
        *("&", "=", "&&", "a", "B=2", "é", ";", "[", "\\", "'", "|", "+", ":", "x.aspx", "/Y.ASPX?", "#end"),
        *(f"({_ID24})/", f"(S({_ID24}))/", f"/(a({_ID24})b({_ID24}))/", f"/(S({_ID24[1:]}))/"),
        *(f"jsessionid={_ID32}", f"PHPSESSID={_ID32}", f"&sid={_ID32}", f"sid={_ID32}&", f"xsid={_ID32}0"),
        *(f"ASPSESSIONIDabcdEFGH={'abC' * 8}", "cfid=1&cftoken=2", "&CFTOKEN=x", "CFID=&", "utm_source=1"),
    ]
)
_ODD_HOSTS = st.sampled_from(
    [
        "www.example.com",
        "www12.a.b",
        "www.com",
        "www.www.a.com",
        "wWw1.B.c:8080",
        "a..b.c",
        ".www.x.y",
        "a.b.",
    ]
    + [
        "1.2.3.4",
        "1.2.3.4:90",
        "0x7f.1",
        "[::1]",
        "[::1]:81",
        "ex:0",
        "ex:80",
        "ex:443",
        "bücher.de",
        "a_b.c",
    ]
)
_ODD_URLS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["http://", "https://"]),
    _ODD_HOSTS,
    st.sampled_from(["", "/", "?"]),
    st.lists(_ODD_PIECES, max_size=8).map("".join),
)


@given(st.one_of(_ODD_URLS, _URLS))
@settings(max_examples=300)
def test_our_sort_key_is_the_internet_archives(internet_archive, text):
    try:
        key = canonical(text)
    except UrlError:
        return

    assert surt(key) == internet_archive.surt(key)


@pytest.mark.parametrize(
    ("url", "key"),
    [
        # Lines of Common Crawl's index: its own front page and one of its example's
        (
            "https://commoncrawl.org/2021/02/january-2021-crawl/",
            "org,commoncrawl)/2021/02/january-2021-crawl",
        ),
        ("https://an.wikipedia.org/wiki/Escopete", "org,wikipedia,an)/wiki/escopete"),
        # As the documentation of the Internet Archive's package has it
        ("http://archive.org/goo/?a=2&b&a=1", "org,archive)/goo?a=1&a=2&b"),
        ("http://www2.Example.com:8080/", "com,example:8080)/"),
        ("https://127.0.0.1/", "1,0,0,127)/"),
        ("http://[::1]:81/", "::1:81)/"),
        ("http://example.com/A%2520b%252e", "com,example)/a%20b."),
        ("http://example.com/a//b/%252e%252e/c/", "com,example)/a/c"),
        (f"http://example.com/?x=1&PHPSESSID={_ID32}&y=2", "com,example)/?x=1&y=2"),
        (f"http://example.com/?jsessionid={_ID32}", "com,example)/"),
        (f"http://example.com/(S({_ID24}))/Page.aspx", "com,example)/page.aspx"),
    ],
)
def test_a_sort_key_is_what_common_crawls_index_has(url, key):
    assert surt(canonical(url)) == key


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
def test_urls_of_a_real_dump_keep_their_key(real_data, internet_archive):
    with lzma.open(real_data / "web" / "pushshift" / "RS_v2_2005-07.xz") as lines:
        urls = [canonical(row["url"]) for row in map(orjson.loads, lines) if row["url"].startswith("http")]

    assert len(urls) > 1000
    assert [url for url in urls if canonical(url) != url] == []
    assert [url for url in urls if surt(url) != internet_archive.surt(url)] == []
