"""Crawls that are killed, run out of disk or are to try again: nothing is lost, nothing fetched twice."""

import os
import shutil
import time
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.crawl import fetchlog
from pipeline.data.crawl.fetchlog import journal_path
from pipeline.data.crawl.share import fetch_share
from pipeline.data.fetch import has_retries
from pipeline.errors import StageError
from pipeline.formats.lock import sole_writer
from tests.pipeline.data.crawling import (
    PAGE,
    Server,
    config,
    crawl,
    crawling,
    log,
    moved,
    nothing,
    records,
    reply,
    run,
    write_links,
)


@pytest.fixture
def server():
    with Server() as running:
        yield running


def share(server, out, **more):
    """Fetch all links, as a worker that is killed before its journal becomes the log."""
    fetchlog.fold(out / "pages")
    fetch_share(config(server, **more), out, rank=0, world_size=1)


@pytest.fixture
def five(server, tmp_path):
    """Return a dataset of five links."""
    server.pages |= {f"/{n}": reply() for n in range(5)}
    write_links(tmp_path, [f"http://one.test/{n}" for n in range(5)])
    (tmp_path / "pages").mkdir()
    return tmp_path


def kill_after(server, requests, process):
    while len(server.pages_asked()) < requests and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    process.communicate()


@pytest.mark.parametrize("workers", [(1, 1, 1), (3, 2, 1)])
def test_a_killed_crawl_asks_again_only_for_what_is_not_whole(server, tmp_path, workers):
    server.pages |= {f"/{n}": reply(PAGE + os.urandom(500).hex().encode()) for n in range(390)}
    write_links(tmp_path, [f"http://www.site{n % 7}.test/{n}" for n in range(400)])

    patient = {"first_byte_seconds": 20, "total_seconds": 30}  # on a busy machine too nothing is asked again

    for kill, number in enumerate(workers[:-1]):
        process = crawling(server, tmp_path, workers=number, at_a_time=number, file_bytes=20_000, **patient)
        kill_after(server, 60 + 100 * kill, process)
    counts = run(config(server, workers=workers[-1], **patient), tmp_path)

    assert (counts.documents_in, counts.documents_out, counts.dropped) == (400, 390, {"http-404": 10})
    stored = Counter(record[0]["WARC-Target-URI"] for record in records(tmp_path))
    assert (len(stored), stored.most_common(1)[0][1]) == (390, 1)
    again = sum(n - 1 for n in Counter(server.pages_asked()).values())
    assert again <= 14 * (len(workers) - 1)  # what was in work at each kill: 7 hosts, 2 requests each
    assert len(log(tmp_path)) == 400


def test_a_disk_that_fills_up_is_said_and_what_was_fetched_is_kept(server, tmp_path):
    server.pages |= {f"/{n}": reply(PAGE + os.urandom(9000).hex().encode()) for n in range(20)}
    write_links(tmp_path, [f"http://one.test/{n}" for n in range(20)])

    process = crawling(server, tmp_path, largest_file=32_000)
    message = process.communicate()[1]
    kept = len(records(tmp_path))
    server.requests.clear()
    counts = run(config(server), tmp_path)

    assert process.returncode == 1
    assert "StageError" in message
    assert "make room there and run the same command again" in message
    assert 0 < kept < 20
    assert counts.documents_out == len(records(tmp_path)) == 20
    assert len(server.pages_asked()) == 20 - kept


@pytest.mark.parametrize("most", [64, 1024])
def test_files_that_may_not_be_opened_are_said_and_not_held_against_the_servers(server, tmp_path, most):
    server.pages["/page"] = reply()
    write_links(tmp_path, [f"http://h{n}.test/page" for n in range(100)])

    process = crawling(server, tmp_path, open_files=[64, most])
    message = process.communicate()[1]

    assert ("raise `ulimit -n` or lower fetch.concurrency" in message) == (most == 64)
    assert run(config(server), tmp_path).documents_out == 100


def test_a_torn_record_is_cut_off_and_a_whole_one_without_its_line_is_kept(server, five):
    share(server, five, host_connections=1)
    journal, warc = journal_path(five / "pages", 0), five / "pages" / "000-00000.warc.gz"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:3]) + lines[3][:20])  # the lines of the last two records are lost
    os.truncate(warc, warc.stat().st_size - 10)  # and the last record is torn
    server.requests.clear()

    counts = run(config(server), five)

    assert counts.documents_out == len(records(five)) == 5
    assert len(server.pages_asked()) == 1


def test_lines_of_records_that_never_reached_the_disk_are_taken_back(server, five):
    share(server, five)
    warc = five / "pages" / "000-00000.warc.gz"
    data = warc.read_bytes()
    warc.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))

    counts = run(config(server), five)

    assert counts.documents_out == len(records(five)) == 5


def test_a_journal_that_was_folded_before_a_crash_counts_once(server, five):
    share(server, five)
    journal = journal_path(five / "pages", 0)
    lines = journal.read_bytes()
    fetchlog.fold(five / "pages")
    journal.write_bytes(lines)  # as if the crash had come before it was removed
    server.requests.clear()

    assert run(config(server), five).documents_out == 5
    assert len(log(five)) == len(records(five)) == 5
    assert server.requests == []


def test_links_of_a_file_that_is_gone_are_fetched_again(server, five):
    run(config(server, file_bytes=1024), five)
    first, *others = sorted((five / "pages").glob("*.warc.gz"))
    assert others
    lost = [row for row in log(five).values() if row["warc"] == first.name]
    first.unlink()
    server.requests.clear()

    assert run(config(server), five).documents_out == 5
    assert len(server.pages_asked()) == len(lost)
    assert len(records(five)) == 5


def test_a_finished_crawl_is_not_repeated(server, five):
    run(config(server), five)
    server.requests.clear()

    assert run(config(server), five).documents_out == 5
    assert server.requests == []
    assert not list((five / "pages").glob("[.jp]*"))  # no journal, no partial log, no lock is left


def test_links_that_failed_are_tried_again_when_that_is_asked_for(server, tmp_path):
    urls = [f"http://one.test/{name}" for name in ("good", "cut", "gone")]
    server.pages |= {"/good": reply(), "/cut": nothing}
    rows = crawl(server, tmp_path, urls, attempts=1)
    assert {path: row["reason"] for path, row in rows.items()} == {
        "/good": "stored",
        "/cut": "connection-cut",
        "/gone": "http-404",
    }
    server.pages["/cut"] = reply()
    server.requests.clear()
    again = config(server, retry=["connection-cut", "dns"])

    assert not has_retries(config(server), tmp_path)
    assert has_retries(again, tmp_path)
    assert run(again, tmp_path).documents_out == 2
    assert server.pages_asked() == ["/cut"]
    assert not has_retries(again, tmp_path)


def test_links_that_came_later_are_fetched_and_pages_of_links_that_went_are_told(server, five):
    run(config(server), five)
    server.pages["/5"] = reply()
    server.requests.clear()
    shutil.rmtree(five / "links")
    write_links(five, [f"http://one.test/{n}" for n in range(7)])

    assert run(config(server), five).dropped == {"http-404": 1}
    assert sorted(server.pages_asked()) == ["/5", "/6"]

    shutil.rmtree(five / "links")
    write_links(five, [f"http://one.test/{n}" for n in range(6)])  # the failure is nobody's any more
    run(config(server), five).check("fetch")

    shutil.rmtree(five / "links")
    write_links(five, [f"http://one.test/{n}" for n in range(4)])
    with pytest.raises(StageError, match="2 pages are of links that .* no longer holds"):
        run(config(server), five)


def test_pages_that_common_crawl_had_are_not_asked_for_and_are_in_the_log(server, five):
    pages = five / "pages"
    (pages / "cc-00000.warc.gz").write_bytes(b"")
    row = {"url": "http://one.test/3", "canonical_url": "http://one.test/3", "reason": "stored", "bytes": 7}
    row |= {"warc": "cc-00000.warc.gz", "offset": 0, "length": 0, "source": "commoncrawl"}
    pq.write_table(pa.Table.from_pylist([row], fetchlog.SCHEMA), pages / fetchlog.COMMONCRAWL)

    counts = run(config(server), five)

    assert counts.documents_out == 5
    assert "/3" not in server.pages_asked()
    sources = {path: row["source"] for path, row in log(five).items()}
    assert sources == {"/3": "commoncrawl", **{f"/{n}": "live" for n in (0, 1, 2, 4)}}


def test_workers_share_the_links_by_registered_domain(server, tmp_path):
    urls = [f"http://{sub}.site{n}.test/" for n in range(20) for sub in ("a", "b")]
    server.pages["/"] = reply()
    write_links(tmp_path, urls)

    run(config(server, workers=3), tmp_path)

    rows = pq.read_table(tmp_path / "pages" / fetchlog.NAME).to_pylist()
    workers = {}
    for row in rows:
        workers.setdefault(row["canonical_url"].split(".")[1], set()).add(row["warc"][:3])
    assert len(rows) == 40
    assert all(len(ranks) == 1 for ranks in workers.values())
    assert set.union(*workers.values()) == {"000", "001", "002"}


def test_a_redirect_to_a_host_of_another_worker_is_followed_when_that_one_is_done(server, tmp_path):
    targets = [f"http://site{n}.test/new" for n in range(8)]
    server.pages |= {f"site{n}.test/old": moved(targets[(n + 1) % 8]) for n in range(8)} | {"/new": reply()}

    write_links(tmp_path, [f"http://site{n}.test/old" for n in range(8)] + targets)
    counts = run(config(server, workers=3), tmp_path)

    assert counts.documents_out == 16
    rows = pq.read_table(tmp_path / "pages" / fetchlog.NAME).to_pylist()
    assert {row["final_url"] for row in rows} == set(targets)
    assert max(Counter(server.requests).values()) <= 3  # a moved link's first hop is asked for once more


def test_a_journal_that_another_process_writes_is_left_alone(server, five, monkeypatch):
    monkeypatch.setattr("pipeline.formats.lock.PATIENCE_SECONDS", 0.1)
    share(server, five)

    with (
        sole_writer(five / "pages" / ".locks" / "000", "taken"),
        pytest.raises(StageError, match="still written by another process"),
    ):
        run(config(server), five)
