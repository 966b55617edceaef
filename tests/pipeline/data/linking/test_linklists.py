import gzip
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data import links as phase
from pipeline.data.links import LinksConfig
from pipeline.errors import FormatError

DAY = datetime(2017, 7, 1, tzinfo=UTC)


def run(tmp_path: Path, *paths: Path, out: str = "out", **config):
    values = {"inputs": [str(path) for path in paths], "blocklists": [], **config}
    counts = phase.run(LinksConfig(**values), tmp_path / out)
    counts.check("links")
    return counts


def rows(tmp_path: Path, out: str = "out") -> dict[str, dict]:
    found = pq.read_table(sorted((tmp_path / out / "links").glob("*.parquet"))).to_pylist()
    return {row["url"]: row for row in found}


def dump(tmp_path: Path, *scores: tuple[str, int]) -> Path:
    path = tmp_path / "RS_2017-07"
    lines = [
        orjson.dumps({"url": url, "score": score, "created_utc": 1_498_867_200}) for url, score in scores
    ]
    path.write_bytes(b"\n".join(lines))
    return path


def table(tmp_path: Path, columns: dict, name: str = "links.parquet", **how) -> Path:
    pq.write_table(pa.table(columns), tmp_path / name, **how)
    return tmp_path / name


def test_a_list_of_addresses_passes_the_karma_rule(tmp_path):
    path = tmp_path / "RS_2017-07.txt"
    path.write_bytes(
        b"\xef\xbb\xbfhttp://a.com\r\n\r\n  http://b.com/?x=1&amp;y=2 \nnonsense\n\xff\nhttp://a.com/#top\n"
    )

    counts = run(tmp_path, path)

    assert (counts.documents_in, counts.documents_out) == (6, 2)
    assert counts.dropped == {"empty-line": 1, "bad-url": 1, "malformed": 1, "repeat": 1}
    assert rows(tmp_path)["http://b.com/?x=1&y=2"] == {
        "url": "http://b.com/?x=1&y=2",
        "canonical_url": "http://b.com/?x=1&y=2",
        "surt": "com,b)/?x=1&y=2",
        "karma_sum": 0,
        "karma_max": 0,
        "submissions": 0,
        "first_seen": None,
        "subreddits": [],
    }


def test_a_list_may_be_compressed(tmp_path):
    path = tmp_path / "urls.txt.gz"
    path.write_bytes(gzip.compress(b"http://a.com/\nhttp://b.com/"))

    assert run(tmp_path, path).documents_out == 2


def test_a_listed_link_is_kept_whatever_its_karma_which_is_that_of_its_submissions(tmp_path):
    listed = tmp_path / "listed.txt"
    listed.write_text("http://a.com/\n")

    counts = run(tmp_path, listed, dump(tmp_path, ("http://a.com/", -7), ("http://b.com/", -7)))

    assert counts.dropped == {"below-karma": 1, "repeat": 1}
    (row,) = rows(tmp_path).values()
    assert (row["karma_max"], row["karma_sum"], row["submissions"]) == (-7, -7, 1)


def test_block_lists_hold_for_lists_too(tmp_path):
    blocked = tmp_path / "blocked.yaml"
    blocked.write_text("domains: [a.com]")
    path = tmp_path / "urls.txt"
    path.write_text("http://a.com/\nhttp://b.com/\n")

    assert run(tmp_path, path, blocklists=[blocked]).dropped == {"blocked-domain": 1}


def test_a_table_of_our_own_links_comes_out_as_it_went_in(tmp_path):
    listed = tmp_path / "listed.txt"
    listed.write_text("http://c.com/\n")
    run(tmp_path, dump(tmp_path, ("http://a.com", 5), ("http://a.com/", 4), ("http://b.com/", 3)), listed)

    run(tmp_path, *sorted((tmp_path / "out" / "links").glob("*.parquet")), out="again")

    assert rows(tmp_path, "again") == rows(tmp_path)
    assert len(rows(tmp_path)) == 3


def test_tables_and_dumps_add_up(tmp_path):
    columns = {
        "url": ["http://a.com/"],
        "karma_max": [7],
        "karma_sum": [9],
        "submissions": [3],
        "first_seen": pa.array([DAY], pa.timestamp("us", "UTC")),
        "subreddits": [["books", "art"]],
    }

    run(tmp_path, table(tmp_path, columns), dump(tmp_path, ("http://a.com/", 2)))

    (row,) = rows(tmp_path).values()
    assert (row["karma_max"], row["karma_sum"], row["submissions"]) == (7, 11, 4)
    assert (row["first_seen"], row["subreddits"]) == (DAY, ["art", "books"])


@pytest.mark.parametrize("name", ["karma", "score"])
def test_a_table_may_tell_karma_in_one_column_or_not_at_all(tmp_path, name):
    path = table(tmp_path, {"url": ["http://a.com/", "http://b.com/", "http://c.com/"], name: [2, 3, None]})

    assert run(tmp_path, path).dropped == {"below-karma": 1}
    assert {url: row["submissions"] for url, row in rows(tmp_path).items()} == {
        "http://b.com/": 1,
        "http://c.com/": 0,
    }


def test_rules_hold_for_what_a_table_tells(tmp_path):
    columns = {
        "url": [f"http://{name}.com/" for name in "abcd"] + [None],
        "first_seen": pa.array([DAY, None, DAY.replace(year=2018), DAY, DAY], pa.timestamp("ms", "UTC")),
        "subreddits": [["Pics", "art"], None, [], ["PICS"], []],
    }

    counts = run(tmp_path, table(tmp_path, columns), until="2018-01-01", drop_subreddits=["pics"])

    assert sorted(rows(tmp_path)) == ["http://a.com/", "http://b.com/"]
    assert counts.dropped == {"date": 1, "subreddit": 1, "malformed": 1}


@pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_text_may_be_stored_as_other_programs_do(tmp_path, kind):
    path = table(tmp_path, {"url": pa.array(["http://a.com/"], pa.string()).cast(kind)})

    assert run(tmp_path, path).documents_out == 1


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"link": ["http://a.com/"], "karma": [3]}, ["`url`", "link, karma"]),
        ({"url": ["http://a.com/"], "subreddits": ["books"]}, ["`subreddits`", "string"]),
        ({"url": [1]}, ["`url`", "int64"]),
    ],
)
def test_a_table_with_other_columns_is_refused_before_any_work(tmp_path, columns, told):
    path = table(tmp_path, columns)

    with pytest.raises(FormatError) as refused:
        run(tmp_path, path)

    assert all(text in str(refused.value) for text in [str(path), *told])
    assert not (tmp_path / "out").exists()


def test_a_table_cut_off_is_named_and_its_neighbour_is_read(tmp_path, caplog):
    urls = [f"http://example.com/{n}" for n in range(1000)]
    path = table(tmp_path, {"url": urls})
    path.write_bytes(path.read_bytes()[:-100])

    counts = run(tmp_path, path, table(tmp_path, {"url": ["http://a.com/"]}, "whole.parquet"))

    assert counts.documents_out == 1
    assert str(path) in counts.extra["faults"][0]
    assert str(path) in caplog.text


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_a_flipped_bit_in_a_table_with_checksums_costs_its_row_group_alone(tmp_path, compression):
    urls = [f"http://example.com/{n}" for n in range(4000)]
    path = table(
        tmp_path, {"url": urls}, row_group_size=1000, compression=compression, write_page_checksum=True
    )
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    first = column.dictionary_page_offset or column.data_page_offset
    whole = path.read_bytes()
    for place in range(first + 60, first + column.total_compressed_size, column.total_compressed_size // 8):
        damaged = bytearray(whole)
        damaged[place] ^= 4
        path.write_bytes(damaged)

        counts = run(tmp_path, path)

        assert (counts.documents_out, counts.dropped) == (3000, {"damaged": 1000})
        assert "row group 1" in counts.extra["faults"][0]
