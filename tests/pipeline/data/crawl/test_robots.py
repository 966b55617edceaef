import time

import pytest

from pipeline.data.crawl.robots import MAX_BYTES, from_reply, parse

PAGE = "http://example.com/private/page"


@pytest.mark.parametrize(
    ("status", "is_allowed"),
    [
        (200, True),
        (204, True),
        (401, True),
        (403, True),
        (404, True),
        (410, True),
        (429, False),
        (500, False),
        (503, False),
    ],
)
def test_the_status_of_robots_txt_decides_as_rfc_9309_says(status, is_allowed):
    assert from_reply(status, b"", "loglinear").allows(PAGE) is is_allowed


@pytest.mark.parametrize(
    ("text", "is_allowed"),
    [
        (b"User-agent: *\nDisallow: /private", False),
        (b"\xef\xbb\xbfUser-agent: *\nDisallow: /private", False),
        (b"User-agent: loglinear\nAllow: /\n\nUser-agent: *\nDisallow: /", True),
        (b"User-agent: Loglinear\nDisallow: /\n\nUser-agent: *\nAllow: /", False),
        (b"User-agent: *\nDisallow: /private\nAllow: /private/page", True),
        (b"User-agent: *\nDisallow: /*page$", False),
        (b"User-agent: *\nDisallow:", True),
        (b"<html><body>not a robots.txt</body></html>", True),
        (b"User-agent: *\nDisallow: /\xff\x00\nDisallow: /private", False),
        (b"", True),
    ],
)
def test_rules_are_read_as_rfc_9309_says(text, is_allowed):
    assert parse(text, "loglinear").allows(PAGE) is is_allowed


def test_only_the_first_500_kib_of_a_huge_file_count():
    early, late = b"User-agent: *\nDisallow: /early\n", b"Disallow: /late\n"
    rules = parse(early + b"#" * 79 + b"\n" + (b"# filler" + b"\n") * (MAX_BYTES // 9) + late, "loglinear")

    assert not rules.allows("http://example.com/early")
    assert rules.allows("http://example.com/late")


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("2.5", 2.5), ("1e300", 1e300), ("-1", 0.0), ("nan", 0.0), ("x", 0.0), ("", 0.0)],
)
def test_a_crawl_delay_is_a_number_of_seconds_or_none(asked, seconds):
    assert parse(f"User-agent: *\nCrawl-delay: {asked}".encode(), "loglinear").delay_seconds == seconds


def test_five_hundred_wildcards_are_judged_at_once():
    rules = parse(b"User-agent: *\nDisallow: /" + b"*a" * 500 + b"$\n", "loglinear")
    start = time.process_time()

    assert rules.allows("http://example.com/" + "a" * 499 + "b")
    assert time.process_time() - start < 0.5
