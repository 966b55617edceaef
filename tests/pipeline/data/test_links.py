import bz2
import gzip
import hashlib
import lzma
import sys
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest

from pipeline.data import lines
from pipeline.data import links as phase
from pipeline.data.linking import karma
from pipeline.data.links import LinksConfig
from pipeline.errors import ConfigError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESS = {
    ".zst": zstd.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
    ".gz": gzip.compress,
    "": bytes,
}


def submission(url: str, score: int = 5, **more) -> bytes:
    row = {"url": url, "score": score, "created_utc": 1_500_000_000, "subreddit": "books", "is_self": False}
    return orjson.dumps({**row, **more})


def dump(tmp_path: Path, *lines: bytes, name: str = "RS_2017-07") -> Path:
    path = tmp_path / name
    path.write_bytes(COMPRESS[path.suffix if path.suffix in COMPRESS else ""](b"\n".join(lines) + b"\n"))
    return path


def links(tmp_path: Path, *lines: bytes, **config) -> list[dict]:
    """Return the rows kept of a dump of these lines."""
    run(tmp_path, dump(tmp_path, *lines), **config)
    return pq.read_table(sorted((tmp_path / "out" / "links").glob("*.parquet"))).to_pylist()


def run(tmp_path: Path, *paths: Path, **config):
    values = {"inputs": [str(path) for path in paths], "blocklists": [], **config}
    counts = phase.run(LinksConfig(**values), tmp_path / "out")
    counts.check("links")
    return counts


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_dump_is_read_in_every_compression(tmp_path, suffix):
    path = dump(tmp_path, *(submission(f"http://example.com/{n}") for n in range(500)), name=f"RS{suffix}")

    assert run(tmp_path, path).documents_out == 500


def test_submissions_of_one_page_add_up_under_its_canonical_url(tmp_path):
    rows = links(
        tmp_path,
        submission("http://example.com/a?utm_source=x", 2, subreddit="books", created_utc=1_500_000_300),
        submission("HTTP://EXAMPLE.com/a#top", 7, subreddit="art", created_utc="1500000200"),
        submission("http://example.com/a", -4, subreddit="books", created_utc=1_500_000_100.0),
    )

    assert rows == [
        {
            "url": "HTTP://EXAMPLE.com/a#top",
            "canonical_url": "http://example.com/a",
            "surt": "com,example)/a",
            "karma_sum": 5,
            "karma_max": 7,
            "submissions": 3,
            "first_seen": datetime.fromtimestamp(1_500_000_100, UTC),
            "subreddits": ["art", "books"],
        }
    ]


def test_the_columns_are_those_of_the_contract(tmp_path):
    links(tmp_path, submission("http://example.com/"))

    names = pq.read_schema(tmp_path / "out" / "links" / "00000.parquet").names
    assert " ".join(names) == ("url canonical_url surt karma_sum karma_max submissions first_seen subreddits")


@pytest.mark.parametrize(
    ("karma", "kept"), [("max", ["http://a.com/"]), ("sum", ["http://a.com/", "http://b.com/"])]
)
def test_karma_counts_by_one_submission_or_by_all(tmp_path, karma, kept):
    lines = [submission("http://a.com/", 3), submission("http://b.com/", 2), submission("http://b.com/", 1)]

    assert sorted(row["canonical_url"] for row in links(tmp_path, *lines, karma=karma)) == kept


def test_links_are_ordered_by_the_hash_of_their_canonical_url(tmp_path):
    urls = [f"http://example.com/{n}" for n in range(50)]

    found = [row["canonical_url"] for row in links(tmp_path, *map(submission, urls))]

    assert found == sorted(urls, key=lambda url: hashlib.blake2b(url.encode(), digest_size=8).digest())


def test_the_result_does_not_depend_on_files_workers_or_slices(tmp_path, monkeypatch):
    lines = [submission(f"http://example.com/{n % 300}", n % 7, subreddit=f"r{n % 3}") for n in range(1000)]
    at_once = links(tmp_path, *lines)
    parts = [dump(tmp_path, *lines[n::3], name=f"part{n}.zst") for n in range(3)]
    monkeypatch.setattr(karma, "_FILE_ROWS", 100)

    run(tmp_path, *parts, workers=2)

    files = sorted((tmp_path / "out" / "links").glob("*.parquet"))
    assert len(files) == 16
    assert pq.read_table(files).to_pylist() == at_once


@pytest.mark.parametrize(
    ("more", "config", "reason"),
    [
        ({"is_self": True}, {}, "self-post"),
        ({"over_18": True}, {"drop_over_18": True}, "over-18"),
        ({"subreddit": "Pics"}, {"drop_subreddits": ["pics"]}, "subreddit"),
        ({"created_utc": 1_514_764_800}, {"until": "2018-01-01"}, "date"),
        ({"created_utc": 1_498_867_199}, {"since": "2017-07-01"}, "date"),
        ({"url": "http://user:pw@example.com/"}, {}, "credentials"),
        ({"url": "ftp://example.com/"}, {}, "not-http"),
        ({"url": "/r/books/comments/1"}, {}, "bad-url"),
        ({"score": 2}, {}, "below-karma"),
        ({"score": None}, {}, "malformed"),
        ({"url": None}, {}, "malformed"),
        ({"created_utc": 1e300}, {}, "malformed"),
    ],
)
def test_what_is_left_out_is_counted_under_its_reason(tmp_path, more, config, reason):
    path = dump(tmp_path, submission("http://example.com/"), submission(**{"url": "http://b.com/", **more}))

    counts = run(tmp_path, path, **config)

    assert (counts.documents_in, counts.documents_out, dict(counts.dropped)) == (2, 1, {reason: 1})


def test_self_posts_are_known_before_the_field_existed(tmp_path):
    old = orjson.dumps({"url": "http://reddit.com/x", "score": 9, "created_utc": 1, "domain": "self.books"})

    assert run(tmp_path, dump(tmp_path, old)).dropped == {"self-post": 1}


def test_broken_lines_are_counted_and_sampled_with_their_place(tmp_path):
    broken = [
        b'{"url": "http://exam',
        b"\xff\xfe\xff",
        b"[1, 2]",
        b'"text"',
        b"null",
        submission("http://c.com/").replace(b"/c.", b"/\xff."),
        submission("http://c.com/").replace(b"/c.", rb"/\ud800."),
        submission("http://c.com/").replace(b"/c.", b"/\x00."),
        submission("http://c.com/", title=1).replace(b"1}", b"NaN}"),
        submission("http://c.com/").replace(b":5,", b":" + b"9" * 5000 + b","),
        b"\xef\xbb\xbf" + submission("http://c.com/"),
        b"[" * 100_000,
        submission("http://c.com/", title=1).replace(b"1}", b"[" * 100_000),
        submission("http://c.com/") + b"}",
    ]
    path = dump(tmp_path, submission("http://a.com/"), *broken, b"", submission("http://b.com/"))

    counts = run(tmp_path, path)

    samples = [
        orjson.loads(line) for line in (tmp_path / "out/links/malformed.jsonl").read_bytes().splitlines()
    ]
    assert counts.documents_out == 2
    assert counts.dropped == {"malformed": len(broken), "empty-line": 1}
    assert [(each["file"], each["line"]) for each in samples] == [
        (str(path), n) for n in range(2, 2 + len(broken))
    ]
    assert all(each["why"] for each in samples)


@pytest.mark.parametrize(
    "line",
    [
        submission("http://a.com/").replace(b"{", b'{"url":"http://b.com/",', 1),  # the last of two counts
        submission("http://a.com/", title="?").replace(b"?", b"\xff\xfe"),
        submission("http://a.com/", ups=1).replace(b":1}", b":" + b"9" * 5000 + b"}"),
        submission("http://a.com/").replace(b"}", b"}\r"),
        submission("http://a.com/", subreddit=None, domain=None, is_self=None),
    ],
    ids=["key twice", "bad bytes in a field not read", "huge number not read", "CRLF", "nulls"],
)
def test_odd_lines_whose_fields_are_whole_are_links(tmp_path, line):
    assert [row["url"] for row in links(tmp_path, line)] == ["http://a.com/"]


def test_a_character_that_is_no_text_in_an_address_makes_it_none(tmp_path):
    assert run(tmp_path, dump(tmp_path, submission("http://a.com/\x00b"))).dropped == {"bad-url": 1}


def test_characters_and_lines_split_between_chunks_survive(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "_CHUNK_BYTES", 7)
    urls = [f"http://example.com/{name}" for name in ("ä", "漢字", "🙂", "x" * 50)]

    rows = links(tmp_path, b"\xef\xbb\xbf" + submission(urls[0]), *map(submission, urls[1:]))

    assert sorted(row["url"] for row in rows) == sorted(urls)


def test_months_with_unreliable_scores_are_told_by_file_with_a_remedy(tmp_path, caplog):
    bad = dump(tmp_path, submission("http://a.com/", created_utc=1_690_000_000), name="RS_2023-07")
    good = dump(tmp_path, submission("http://b.com/"))

    extra = run(tmp_path, bad, good).extra

    assert extra["submissions_from_months_with_unreliable_scores"] == 1
    assert {each["file"]: each["unreliable_scores"] for each in extra["files"]} == {str(bad): 1, str(good): 0}
    assert [str(bad) in text and "links.until: 2023-04-01" in text for text in caplog.messages] == [True]


def test_a_second_run_replaces_the_first(tmp_path):
    links(tmp_path, submission("http://a.com/"))

    assert [row["url"] for row in links(tmp_path, submission("http://b.com/"))] == ["http://b.com/"]


def test_inputs_that_are_not_there_are_all_named(tmp_path):
    with pytest.raises(ConfigError) as refused:
        run(tmp_path, tmp_path / "RS_2017-*.zst", tmp_path / "RS_2018-01.zst", blocklists=["absent.yaml"])

    assert len(refused.value.problems) == 3


def test_all_files_the_phase_reads_are_its_inputs(tmp_path):
    second, first = (dump(tmp_path, name=name) for name in ("RS_2", "RS_1"))
    blocked = tmp_path / "blocked.yaml"
    blocked.write_text("domains: [a.com]")

    found = phase.inputs(LinksConfig(inputs=[str(second), str(tmp_path / "RS_*")], blocklists=[blocked]))

    assert found == [first, second, blocked]


@pytest.mark.real_data
def test_real_dumps_give_real_links(tmp_path, real_data):
    counts = run(tmp_path, *sorted((real_data / "web" / "pushshift").glob("RS_*.xz")))

    assert counts.documents_in == 103 + 1079
    assert counts.extra["faults"] == []
    assert "malformed" not in counts.dropped
    assert counts.documents_out > 800
