"""What a crawl of well-meaning servers brings, and its manners towards them."""

import gzip
from collections import Counter

import pytest
from pydantic import ValidationError

from pipeline.data.crawl.fetchlog import journal_path
from pipeline.data.crawl.share import user_agent
from pipeline.data.fetch import FetchConfig
from pipeline.errors import ConfigError
from tests.pipeline.data.crawling import (
    PAGE,
    Server,
    config,
    crawl,
    moved,
    nothing,
    records,
    reply,
    run,
    silent,
    write_links,
)


@pytest.fixture
def server():
    with Server() as running:
        yield running


def test_a_page_is_stored_whole_and_logged(server, tmp_path):
    server.pages["/a"] = reply(X_Odd="caf\u00e9")

    row = crawl(server, tmp_path, ["http://one.test/a"])["/a"]

    [(headers, http_headers, body)] = records(tmp_path)
    assert body == PAGE
    assert headers["WARC-Target-URI"] == "http://one.test/a"
    assert headers["WARC-Identified-Payload-Type"] == "text/html"
    assert headers["WARC-Payload-Digest"] == row["digest"]
    assert http_headers["Content-Type"] == "text/html; charset=utf-8"
    assert (row["status"], row["reason"], row["bytes"], row["attempts"]) == (200, "stored", len(PAGE), 1)
    assert not journal_path(tmp_path / "pages", 0).exists()


def test_a_row_says_where_its_record_lies(server, tmp_path):
    server.pages |= {f"/{n}": reply(PAGE + b"%d" % n) for n in range(20)}

    rows = crawl(server, tmp_path, [f"http://one.test/{n}" for n in range(20)], file_bytes=2048)

    assert len({row["warc"] for row in rows.values()}) > 3
    for path, row in rows.items():
        data = (tmp_path / "pages" / row["warc"]).read_bytes()[row["offset"] :][: row["length"]]
        assert gzip.decompress(data).rstrip().endswith(PAGE + path[1:].encode())


def test_a_redirect_is_followed_and_the_page_is_the_links(server, tmp_path):
    server.pages |= {"/old": moved("http://two.test/new?x=1", "301 Moved"), "/new?x=1": reply()}

    row = crawl(server, tmp_path, ["http://one.test/old"])["/old"]

    assert (row["reason"], row["final_url"]) == ("stored", "http://two.test/new?x=1")
    assert row["canonical_url"] == "http://one.test/old"
    assert records(tmp_path)[0][0]["WARC-Target-URI"] == "http://two.test/new?x=1"


def test_a_passing_trouble_is_tried_again_after_the_time_the_server_asks_for(server, tmp_path):
    async def unavailable_once(writer):
        server.pages["/busy"] = reply()
        writer.write(reply(b"", "503 Service Unavailable", Retry_After="1"))

    server.pages["/busy"] = unavailable_once

    row = crawl(server, tmp_path, ["http://one.test/busy"])["/busy"]

    assert (row["reason"], row["attempts"]) == ("stored", 2)
    assert server.times[-1] - server.times[-2] >= 1


def test_a_server_that_asks_for_more_patience_than_there_is_is_left(server, tmp_path):
    server.pages["/busy"] = reply(b"", "429 Too Many Requests", Retry_After="86400")

    row = crawl(server, tmp_path, ["http://one.test/busy"])["/busy"]

    assert (row["reason"], row["status"], row["attempts"]) == ("http-429", 429, 1)


def test_a_host_that_fails_again_after_its_pause_is_given_up(server, tmp_path):
    urls = [f"http://one.test/{n}" for n in range(30)]
    server.pages |= {f"/{n}": nothing for n in range(30)}

    rows = crawl(server, tmp_path, urls, breaker_failures=5, host_connections=1, attempts=1)

    assert Counter(row["reason"] for row in rows.values()) == {"connection-cut": 6, "host-broken": 24}
    assert server.times[-1] - server.times[-2] >= 0.2


def test_a_host_that_answers_after_its_pause_is_crawled_on(server, tmp_path):
    urls = [f"http://one.test/{n}" for n in range(30)]

    async def failing(writer):
        if len(server.pages_asked()) == 5:
            server.pages |= {f"/{n}": reply() for n in range(30)}
        writer.close()

    server.pages |= {f"/{n}": failing for n in range(30)}

    rows = crawl(server, tmp_path, urls, breaker_failures=5, host_connections=1, attempts=1)

    assert Counter(row["reason"] for row in rows.values()) == {"connection-cut": 5, "stored": 25}


def test_requests_to_a_host_keep_their_distance(server, tmp_path):
    server.pages |= {f"/{n}": reply() for n in range(6)}

    crawl(server, tmp_path, [f"http://one.test/{n}" for n in range(6)], host_delay_seconds=0.1)

    gaps = [later - earlier for earlier, later in zip(server.times, server.times[1:], strict=False)]
    assert len(gaps) == 6
    assert min(gaps) > 0.08


@pytest.mark.parametrize(
    ("robots", "reason"),
    [
        (reply(b"User-agent: *\nDisallow: /private", Content_Type="text/plain"), "robots"),
        (reply(b"\xef\xbb\xbfUser-agent: loglinear\nDisallow: /", Content_Type="text/plain"), "robots"),
        (reply(b"", "503 Service Unavailable"), "robots-unreachable"),
        (silent, "robots-unreachable"),
        (nothing, "robots-unreachable"),
        (reply(b"", "403 Forbidden"), "stored"),
        (moved("/robots.txt"), "stored"),
        (reply(b"User-agent: *\nDisallow: /private\n" + b"# x\n" * (5 << 18)), "robots"),
        (reply(gzip.compress(b"User-agent: *\nDisallow: /private"), Content_Encoding="gzip"), "robots"),
        (reply(b"<html>no such page</html>"), "stored"),
    ],
)
def test_robots_txt_is_obeyed(server, tmp_path, robots, reason):
    server.pages |= {"/robots.txt": robots, "/private/page": reply()}

    row = crawl(server, tmp_path, ["http://one.test/private/page"])["/private/page"]

    assert row["reason"] == reason
    assert server.asked("/private/page") == (reason == "stored")


def test_robots_txt_is_asked_for_once_a_host_and_also_on_redirects(server, tmp_path):
    server.pages |= {f"/{n}": reply() for n in range(10)} | {"/away": moved("http://two.test/secret")}
    server.pages["two.test/robots.txt"] = reply(b"User-agent: *\nDisallow: /secret")

    rows = crawl(server, tmp_path, [f"http://one.test/{n}" for n in range(10)] + ["http://one.test/away"])

    assert server.asked("/robots.txt") == 2
    assert rows["/away"]["reason"] == "robots"
    assert server.asked("/secret") == 0


@pytest.mark.parametrize(
    ("patience", "reason", "asked"), [("1", "stored", 2), ("86400", "robots-unreachable", 1)]
)
@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
def test_a_robots_txt_that_asks_for_patience_gets_it(server, tmp_path, status, patience, reason, asked):
    async def busy_once(writer):
        server.pages["/robots.txt"] = reply(b"", "404 Not Found")
        writer.write(reply(b"", status, Retry_After=patience))

    server.pages |= {"/robots.txt": busy_once, "/a": reply()}

    row = crawl(server, tmp_path, ["http://one.test/a"])["/a"]

    assert (row["reason"], server.asked("/robots.txt")) == (reason, asked)
    assert server.times[-1] - server.times[0] >= (1 if reason == "stored" else 0)


@pytest.mark.parametrize(
    ("delay", "reason"), [("0.3", "stored"), ("3", "crawl-delay"), ("1e300", "crawl-delay")]
)
def test_a_crawl_delay_is_kept_or_the_host_is_left_out(server, tmp_path, delay, reason):
    server.pages |= {"/robots.txt": reply(f"User-agent: *\nCrawl-delay: {delay}".encode())}
    server.pages |= {f"/{n}": reply() for n in range(3)}

    rows = crawl(server, tmp_path, [f"http://one.test/{n}" for n in range(3)], max_crawl_delay_seconds=2)

    assert {row["reason"] for row in rows.values()} == {reason}
    gaps = [later - earlier for earlier, later in zip(server.times[1:], server.times[2:], strict=False)]
    assert min(gaps, default=0.3) > 0.25
    assert len(server.pages_asked()) == (3 if reason == "stored" else 0)


def test_robots_txt_is_asked_for_again_when_it_is_a_day_old(server, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.data.crawl.crawler._ROBOTS_SECONDS", 0.25)
    server.pages |= {f"/{n}": reply() for n in range(5)}

    crawl(
        server,
        tmp_path,
        [f"http://one.test/{n}" for n in range(5)],
        host_delay_seconds=0.1,
        host_connections=1,
    )

    assert server.asked("/robots.txt") in (2, 3)


def test_a_crawl_of_public_servers_needs_a_contact(server, tmp_path):
    write_links(tmp_path, ["http://public.example/", "http://one.test/"])

    with pytest.raises(ConfigError, match="public.example is a public server"):
        run(config(server), tmp_path)

    assert server.requests == []


def test_the_agent_says_who_it_is(server, tmp_path):
    assert user_agent(config(server, contact="https://example.org/crawl")).endswith(
        "(+https://example.org/crawl)"
    )


@pytest.mark.parametrize("wrong", [{"allow": ["localhost:80"]}, {"hosts": {"a.test": "80"}}, {"attempts": 0}])
def test_a_wrong_configuration_is_refused(wrong):
    with pytest.raises(ValidationError):
        FetchConfig(**wrong)
