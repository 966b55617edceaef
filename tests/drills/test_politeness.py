"""R16: a crawl leaves every host the time that was set, or that it asks for, however many workers there are.

Servers on loopback note when each request arrives. The delay is a host's, by its name: an address that many
names share has no clock of its own. A request that was sent in time may arrive late on a busy machine, the
more so when it opens a connection first, and make the gap behind it look shorter: that is allowed for.
"""

from __future__ import annotations

import time
from collections import defaultdict
from email.utils import formatdate
from itertools import pairwise

import pytest

from tests.pipeline.data.crawling import Server, config, crawling, log, reply, run, write_links

WORDS = "delays, Retry-After and Crawl-delay of hosts"
LATE_SECONDS = 0.15


@pytest.fixture
def server():
    with Server() as running:
        yield running


def gaps(server: Server) -> dict[str, list[float]]:
    """Return the times between requests that arrived one after the other, for each host."""
    arrivals = defaultdict(list)
    for (host, _), arrived in zip(server.requests, server.times, strict=True):
        arrivals[host].append(arrived)
    return {host: [later - earlier for earlier, later in pairwise(times)] for host, times in arrivals.items()}


@pytest.mark.slow
def test_eight_workers_keep_their_distance_to_many_hosts_on_one_address(server, tmp_path, drill):
    drill.promise("R16", WORDS)
    hosts = len(drill.trials(few=8, full=250))
    links = 3 if hosts == 8 else 40
    server.pages |= {f"/{n}": reply() for n in range(links)}
    urls = [f"http://www.host{host}.test/{n}" for host in range(hosts) for n in range(links)]
    out = tmp_path / "data"
    write_links(out, urls)

    worker = crawling(server, out, workers=8, at_a_time=8, host_delay_seconds=1.0, host_connections=4)
    _, said = worker.communicate(timeout=280)

    assert worker.returncode == 0, said
    assert {row["reason"] for row in log(out).values()} == {"stored"}
    found = gaps(server)
    assert len(found) == hosts and all(
        len(each) == links for each in found.values()
    )  # robots.txt and the pages
    for each in found.values():
        assert min(each) > 1.0 - 3 * LATE_SECONDS
        drill.passed()


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_host_that_asks_for_patience_gets_it_from_all_that_wait(server, tmp_path, drill, form):
    drill.promise("R16", WORDS)
    asked = 2.0

    async def busy_once(writer):
        server.pages |= {f"/{n}": reply() for n in range(6)}
        after = "2" if form == "seconds" else formatdate(time.time() + asked + 1, usegmt=True)
        writer.write(reply(b"", "429 Too Many Requests", Retry_After=after))

    server.pages |= {f"/{n}": busy_once for n in range(6)}
    write_links(tmp_path, [f"http://one.test/{n}" for n in range(6)])

    run(config(server, host_connections=1), tmp_path)

    assert {row["reason"] for row in log(tmp_path).values()} == {"stored"}
    pages = [at for (_, path), at in zip(server.requests, server.times, strict=True) if path != "/robots.txt"]
    assert pages[1] - pages[0] > asked - LATE_SECONDS


def test_a_clock_that_is_set_back_changes_nothing(server, tmp_path, drill, monkeypatch):
    drill.promise("R16", WORDS)
    real, back = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() - back[0])

    async def sets_back(writer):
        back[0] = 3600.0
        writer.write(reply(b"", "503 Service Unavailable", Retry_After="1"))
        server.pages["/0"] = reply()

    server.pages |= {"/0": sets_back, "/robots.txt": reply(b"User-agent: *\nCrawl-delay: 0.4\n")}
    server.pages |= {f"/{n}": reply() for n in range(1, 5)}
    write_links(tmp_path, [f"http://one.test/{n}" for n in range(5)])

    run(config(server, host_delay_seconds=0.3, host_connections=2), tmp_path)

    assert {row["reason"] for row in log(tmp_path).values()} == {"stored"}
    assert back[0] and server.asked("/robots.txt") == 1
    (found,) = gaps(server).values()
    assert min(found[1:]) > 0.4 - LATE_SECONDS  # the first request is for the file that asks for it
