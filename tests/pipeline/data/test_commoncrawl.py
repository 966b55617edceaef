"""Links from Common Crawl: looked up, chosen by date, copied with their history."""

import gzip
from pathlib import Path

import pytest
from fastwarc.warc import ArchiveIterator

from pipeline.config import load
from pipeline.data import commoncrawl, stage
from pipeline.data.commoncrawl import CommonCrawlConfig
from pipeline.data.crawl import fetchlog
from pipeline.data.documents import document_files, read_documents
from pipeline.data.phase import PhaseRun
from pipeline.data.stored.pages import Page, check_sizes, read_pages
from tests.pipeline.data import crawling
from tests.pipeline.data.crawling import Server, reply
from tests.pipeline.data.small_archive import (
    INDEX,
    QUICK,
    RangeServer,
    at,
    body,
    index_rows,
    log,
    make_archive,
    many,
    over,
    stored,
    write_archive,
    write_index,
    write_links,
    write_list,
)


def test_links_are_found_over_http_and_their_records_copied_with_their_dates(tmp_path: Path, phase):
    captures = many(30)
    make_archive(tmp_path / "cc", captures)
    write_links(tmp_path, [each["url"] for each in captures[:20]] + ["http://elsewhere.test/"])

    with RangeServer(tmp_path / "cc") as server:
        counts = over(server, phase, contact="crawl@example.org")

    assert (counts.documents_in, counts.documents_out) == (21, 21)
    assert counts.extra == {"served": 20, "missed": {"not-in-common-crawl": 1}}
    assert stored(tmp_path) == {each["url"]: each["body"] for each in captures[:20]}
    rows = log(tmp_path)
    assert set(rows) == {each["url"] for each in captures[:20]}
    row = rows["http://site3.test/3"]
    assert (row["status"], row["reason"], row["source"]) == (200, "stored", "commoncrawl")
    assert row["content_type"] == "text/html"
    assert row["bytes"] == len(body("page 3"))
    data = (tmp_path / "pages" / row["warc"]).read_bytes()[row["offset"] :][: row["length"]]
    assert gzip.decompress(data).rstrip().endswith(body("page 3"))
    assert b"WARC-Date: 2017-12-10T12:00:00Z" in gzip.decompress(data)
    assert all("(+crawl@example.org)" in agent for _, _, agent in server.requests)
    assert server.asked_warc() == 20


def test_without_a_fetch_the_log_has_a_reason_for_every_link(tmp_path: Path, phase):
    make_archive(tmp_path / "cc", [*many(3), {"url": "http://x.test/", "body": b"\x89PNG\r\n\x1a\n\0\0"}])
    write_links(tmp_path, ["http://site1.test/1", "http://elsewhere.test/", "http://x.test/"])

    counts = at(tmp_path / "cc", phase, follows=False)

    counts.check("commoncrawl")
    assert (counts.documents_in, counts.documents_out) == (3, 1)
    assert counts.dropped == {"content-type": 1, "not-in-common-crawl": 1}
    reasons = {url: (row["reason"], row["source"]) for url, row in log(tmp_path, fetchlog.NAME).items()}
    assert reasons == {
        "http://site1.test/1": ("stored", "commoncrawl"),
        "http://x.test/": ("content-type", "commoncrawl"),
        "http://elsewhere.test/": ("not-in-common-crawl", "commoncrawl"),
    }
    check_sizes(tmp_path / "pages")


def test_what_common_crawl_lacks_is_fetched_live_and_the_log_tells_which(tmp_path: Path, phase):
    captures = many(5)
    make_archive(tmp_path / "cc", captures)
    write_links(tmp_path, [*(each["url"] for each in captures), "http://live.test/page"])
    at(tmp_path / "cc", phase)

    with Server() as live:
        live.pages["/page"] = reply(body("live"))
        counts = crawling.run(crawling.config(live), tmp_path)

    counts.check("fetch")
    assert (counts.documents_in, counts.documents_out) == (6, 6)
    assert live.pages_asked() == ["/page"]
    sources = {url: row["source"] for url, row in log(tmp_path, fetchlog.NAME).items()}
    assert sources == {each["url"]: "commoncrawl" for each in captures} | {"http://live.test/page": "live"}
    assert len(stored(tmp_path)) == 6
    check_sizes(tmp_path / "pages")


STAGE = """
from: {shipped}
out: {out}
links: {{inputs: [{list}], until: null, blocklists: []}}
commoncrawl: {{index: ["{index}"], files: {files}}}
fetch: null
extract: {{kind: resiliparse, main_content: false}}
"""


def test_the_shipped_configuration_builds_from_common_crawl_alone(tmp_path: Path):
    captures = many(10)
    make_archive(tmp_path / "cc", captures)
    (tmp_path / "links.txt").write_text(
        "".join(f"{each['url']}\n" for each in captures) + "http://gone.test/\n"
    )
    shipped = Path("configs/data/webtext-commoncrawl.yaml").resolve()
    places = {"list": tmp_path / "links.txt", "index": tmp_path / "cc" / INDEX, "files": tmp_path / "cc"}
    (tmp_path / "x.yaml").write_text(STAGE.format(shipped=shipped, out=tmp_path / "d", **places))
    config = load(stage.Config, tmp_path / "x.yaml")

    stage.run(config, stage.plan(config), until="extract")

    phases = {each.name: each.mark.account for each in stage.plan(config).phases if each.mark}
    assert list(phases) == ["links", "commoncrawl", "extract"]
    assert phases["commoncrawl"].dropped == {"not-in-common-crawl": 1}
    documents = [
        each for file in document_files(tmp_path / "d" / "documents") for each in read_documents(file)
    ]
    assert {each.metadata["url"] for each in documents} == {each["url"] for each in captures}


@pytest.mark.parametrize("name", ["webtext-commoncrawl", "warc"])
def test_the_shipped_configurations_are_valid(name: str):
    path = Path(f"configs/data/{name}.yaml")

    assert stage.plan(load(stage.Config, path)).phases


CAPTURES = [
    {"date": "2017-11-25", "body": body("near, before")},
    {"date": "2017-12-03", "body": body("nearest")},
    {"date": "2017-12-02", "body": body("cut off"), "truncated": True},
    {"date": "2017-12-02", "body": body("gone"), "status": "404 Not Found"},
    {"date": "2017-12-02", "body": b"%PDF-1.4", "type": "application/pdf"},
    {"date": "2020-01-01", "body": body("newest")},
]


@pytest.mark.parametrize(
    ("settings", "first_seen", "expected"),
    [
        ({}, "2017-12-01", "nearest"),
        ({"before": "2017-12-01"}, "2017-12-01", "near, before"),
        ({"prefer": "newest"}, "2017-12-01", "newest"),
        ({"prefer": "newest", "before": "2020-01-01"}, "2017-12-01", "nearest"),
        ({}, None, "newest"),
    ],
)
def test_the_capture_is_chosen_by_its_date(tmp_path: Path, phase, settings, first_seen, expected):
    make_archive(tmp_path / "cc", [{"url": "http://one.test/a", **each} for each in CAPTURES])
    write_links(tmp_path, ["http://one.test/a"], first_seen)

    at(tmp_path / "cc", phase, **settings)

    assert stored(tmp_path) == {"http://one.test/a": body(expected)}


def test_a_truncated_capture_is_taken_if_there_is_no_whole_one_and_says_so(tmp_path: Path, phase):
    captures = [{"url": "http://one.test/a", **each} for each in CAPTURES[2:5]]
    make_archive(tmp_path / "cc", captures)
    write_links(tmp_path, ["http://one.test/a"])

    at(tmp_path / "cc", phase)

    assert stored(tmp_path) == {"http://one.test/a": body("cut off")}
    with (tmp_path / "pages" / "cc-00000.warc.gz").open("rb") as file:
        [record] = [each for each in ArchiveIterator(file) if each.headers.get("WARC-Type") == "response"]
        assert record.headers["WARC-Truncated"] == "length"


def test_a_surt_joins_what_only_scheme_and_www_tell_apart(tmp_path: Path, phase):
    make_archive(tmp_path / "cc", [{"url": "https://www.one.test/a?b=1", "body": body("one")}])
    write_links(tmp_path, ["http://one.test/a?b=1"])

    at(tmp_path / "cc", phase)

    [row] = log(tmp_path).values()
    assert (row["url"], row["final_url"]) == ("http://one.test/a?b=1", "https://www.one.test/a?b=1")
    assert stored(tmp_path) == {"http://one.test/a?b=1": body("one")}


def test_several_crawls_are_one_archive_and_lists_name_their_files(tmp_path: Path, phase):
    root = tmp_path / "cc"
    for crawl, text in (("CC-1", "old"), ("CC-2", "new")):
        name = f"crawl-data/{crawl}/00000.warc.gz"
        date = "2017-12-10" if crawl == "CC-1" else "2018-12-10"
        urls = [f"http://both.test/{n}" for n in range(5)] + [f"http://{crawl.lower()}.test/"]
        write_archive(root / name, [{"url": url, "body": body(text), "date": date} for url in urls])
        write_index(root / f"{crawl}/subset=warc/part-0.parquet", index_rows(root / name, name))
    write_list(
        root / "one.paths.gz", ["CC-1/subset=warc/part-0.parquet", "CC-1/subset=robotstxt/part-0.parquet"]
    )
    write_links(
        tmp_path, [f"http://both.test/{n}" for n in range(5)] + ["http://cc-1.test/", "http://cc-2.test/"]
    )

    with RangeServer(root) as server:
        index = [f"{server.url}one.paths.gz", str(root / "CC-2" / "subset=warc" / "*.parquet")]
        over(server, phase, index=index, prefer="newest")

    texts = {url: page.decode() for url, page in stored(tmp_path).items()}
    assert len(texts) == 7
    assert "new" in texts["http://both.test/0"]
    assert "old" in texts["http://cc-1.test/"]


def test_an_early_index_without_the_later_columns_serves(tmp_path: Path, phase):
    make_archive(tmp_path / "cc", many(5), without="content_truncated")
    write_links(tmp_path, ["http://site2.test/2"])

    assert at(tmp_path / "cc", phase).extra["served"] == 1


def test_a_second_run_asks_for_nothing_and_new_links_only_for_theirs(tmp_path: Path, phase):
    captures = many(20)
    make_archive(tmp_path / "cc", captures)
    write_links(tmp_path, [each["url"] for each in captures[:8]])

    def run(server: RangeServer, work: str):
        config = CommonCrawlConfig(
            index=[server.url + INDEX], files=server.url, allow=[server.place], **QUICK
        )
        run = phase("commoncrawl")
        given = {"name": run.name, "dataset": run.dataset, "source": run.source, "execute": run.execute}
        return commoncrawl.run(config, PhaseRun(work=tmp_path / ".phases" / work, **given), True)

    with RangeServer(tmp_path / "cc") as server:
        first = run(server, "a")
        asked = len(server.requests)
        assert run(server, "a") == first
        assert len(server.requests) == asked
        write_links(tmp_path, [each["url"] for each in captures[:12]])
        assert run(server, "b").extra["served"] == 12
        assert server.asked_warc() == 12

    assert len(stored(tmp_path)) == len(log(tmp_path)) == 12


@pytest.mark.real_data
def test_real_warc_files_come_back_byte_for_byte(tmp_path: Path, phase, real_data: Path):
    root, rows = tmp_path / "cc", []
    for source in sorted((real_data / "web" / "warc" / "dolma").rglob("*.warc.gz")):
        (root / "warcs").mkdir(parents=True, exist_ok=True)
        (root / "warcs" / source.name).write_bytes(source.read_bytes())
        rows += index_rows(source, f"warcs/{source.name}")
    write_index(root / INDEX, rows)
    expected = {}
    for path in sorted((root / "warcs").iterdir()):
        expected |= {
            page.canonical_url: page.body for page in read_pages(path, 0, 1) if isinstance(page, Page)
        }
    write_links(tmp_path, list(expected))

    with RangeServer(root) as server:
        counts = over(server, phase, prefer="newest")

    found = stored(tmp_path)
    assert counts.extra["served"] == len(expected) == len(found) > 20
    assert found == expected
