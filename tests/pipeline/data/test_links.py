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
import yaml

from pipeline.data import links as phase
from pipeline.data import submissions
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
    monkeypatch.setattr(phase, "_SLICE_ROWS", 100)

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
        b'{"score": NaN}',
        b"[" * 100_000,
    ]
    path = dump(tmp_path, submission("http://a.com/"), *broken, b"", submission("http://b.com/"))

    counts = run(tmp_path, path)

    samples = [
        orjson.loads(line) for line in (tmp_path / "out/links/malformed.jsonl").read_bytes().splitlines()
    ]
    assert counts.documents_out == 2
    assert counts.dropped == {"malformed": 6, "empty-line": 1}
    assert [(sample["file"], sample["line"]) for sample in samples] == [(str(path), n) for n in range(2, 8)]


@pytest.mark.parametrize("suffix", [".zst", ".xz", ".bz2", ".gz"])
def test_a_file_cut_off_keeps_its_good_lines_and_is_named(tmp_path, suffix):
    lines = [submission(f"http://example.com/{hashlib.sha256(b'%d' % n).hexdigest()}") for n in range(20_000)]
    path = dump(tmp_path, *lines, name=f"RS{suffix}")
    path.write_bytes(path.read_bytes()[:-1000])

    counts = run(tmp_path, path)

    assert 10_000 < counts.documents_out < 20_000
    assert str(path) in counts.extra["faults"][0]


def test_a_file_that_is_not_what_its_name_says_is_named_and_others_are_read(tmp_path):
    wrong = tmp_path / "wrong.zst"
    wrong.write_bytes(b"these are no compressed bytes")

    counts = run(tmp_path, wrong, dump(tmp_path, submission("http://a.com/")))

    assert counts.documents_out == 1
    assert str(wrong) in counts.extra["faults"][0]


def test_characters_and_lines_split_between_chunks_survive(tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, "_CHUNK_BYTES", 7)
    urls = [f"http://example.com/{name}" for name in ("ä", "漢字", "🙂", "x" * 50)]

    rows = links(tmp_path, b"\xef\xbb\xbf" + submission(urls[0]), *map(submission, urls[1:]))

    assert sorted(row["url"] for row in rows) == sorted(urls)


def test_a_dump_of_several_frames_and_windows_ends_and_crlf_is_read_whole(tmp_path):
    first = zstd.compress(submission("http://a.com/") + b"\r\n")
    long_window = {
        zstd.CompressionParameter.window_log: 30,
        zstd.CompressionParameter.enable_long_distance_matching: 1,
    }
    second = zstd.compress(submission("http://b.com/") + b"\r\n", options=long_window)
    path = tmp_path / "RS.zst"
    path.write_bytes(first + second)

    assert run(tmp_path, path).documents_out == 2


def test_a_line_without_end_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, "MAX_LINE_BYTES", 3 << 20)
    path = dump(
        tmp_path, submission("http://a.com/"), b'{"a": "' + b"x" * (5 << 20), submission("http://b.com/")
    )

    counts = run(tmp_path, path)

    assert (counts.documents_out, counts.dropped) == (2, {"line-too-long": 1})


def test_months_with_unreliable_scores_are_told(tmp_path):
    path = dump(tmp_path, submission("http://a.com/", created_utc=1_690_000_000), submission("http://b.com/"))

    assert run(tmp_path, path).extra["submissions_from_months_with_unreliable_scores"] == 1


def test_a_second_run_replaces_the_first(tmp_path):
    links(tmp_path, submission("http://a.com/"))

    assert [row["url"] for row in links(tmp_path, submission("http://b.com/"))] == ["http://b.com/"]


@pytest.mark.parametrize(
    ("url", "is_kept"),
    [
        ("https://github.com/karpathy/nanoGPT", True),
        ("https://www.google.com/about", True),
        ("https://www.nytimes.com/2017/07/01/x.html", True),
        ("https://i.imgur.com/abc", False),
        ("https://notimgur.com/abc", True),
        ("http://example.com/photo.JPG?size=2", False),
        ("http://example.com/paper.pdf", False),
        ("http://example.com/jpg", True),
        ("https://en.m.wikipedia.org/wiki/Web", False),
    ],
)
def test_the_default_list_leaves_out_only_media_binaries_and_wikipedia(tmp_path, url, is_kept):
    default = Path(__file__).parents[3] / "configs" / "data" / "blocklists" / "default.yaml"

    assert len(links(tmp_path, submission(url), blocklists=[default])) == is_kept


def test_block_lists_are_united_and_their_faults_are_told_at_once(tmp_path):
    good, bad, absent = (tmp_path / name for name in ("good.yaml", "bad.yaml", "absent.yaml"))
    good.write_text(yaml.safe_dump({"domains": ["Example.com"], "patterns": ["[?&]print=1"]}))
    bad.write_text(yaml.safe_dump({"patterns": ["("], "domain": ["x"]}))
    lines = [submission(url) for url in ("http://a.example.com/", "http://b.com/?print=1", "http://c.com/")]

    assert [row["url"] for row in links(tmp_path, *lines, blocklists=[good])] == ["http://c.com/"]
    with pytest.raises(ConfigError) as refused:
        links(tmp_path, *lines, blocklists=[good, bad, absent])
    assert len(refused.value.problems) == 3


def test_inputs_that_are_not_there_are_all_named(tmp_path):
    with pytest.raises(ConfigError) as refused:
        run(tmp_path, tmp_path / "RS_2017-*.zst", tmp_path / "RS_2018-01.zst")

    assert len(refused.value.problems) == 2


@pytest.mark.real_data
def test_real_dumps_give_real_links(tmp_path, real_data):
    counts = run(tmp_path, *sorted((real_data / "web" / "pushshift").glob("RS_*.xz")))

    assert counts.documents_in == 103 + 1079
    assert counts.extra["faults"] == []
    assert "malformed" not in counts.dropped
    assert counts.documents_out > 800
