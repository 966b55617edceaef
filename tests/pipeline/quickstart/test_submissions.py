import re
from pathlib import Path

import orjson
from backports import zstd

from pipeline.formats import publish
from pipeline.quickstart.submissions import histogram, histogram_lines, write_submissions


def test_every_linked_page_is_submitted_once_with_the_number_of_pages_that_link_to_it(
    site: Path, tmp_path: Path
):
    counts = write_submissions(site, tmp_path / "RS_quickstart.zst")

    rows = [
        orjson.loads(line)
        for line in zstd.decompress((tmp_path / "RS_quickstart.zst").read_bytes()).splitlines()
    ]
    pages = publish.read_json(site / "index.json")["pages"]
    scores = {row["url"]: row["score"] for row in rows}
    assert len(scores) == len(rows) == len({row["id"] for row in rows})
    for page in pages:
        inbound = sum(f'"{page["path"]}"' in orjson.dumps(other["links"]).decode() for other in pages)
        assert scores.get(f"http://docs.loglinear.test/{page['path']}", 0) == inbound
    assert sum(counts.values()) == len(pages)


def test_a_submission_has_the_fields_of_a_dump(site: Path, tmp_path: Path):
    write_submissions(site, tmp_path / "RS_x.zst")

    row = orjson.loads(zstd.decompress((tmp_path / "RS_x.zst").read_bytes()).splitlines()[0])
    assert re.fullmatch("[0-9a-z]+", row["id"])
    assert (row["domain"], row["is_self"], row["over_18"]) == ("docs.loglinear.test", False, False)
    assert {"created_utc", "subreddit", "author", "title", "num_comments", "permalink"} <= set(row)


def test_the_same_site_gives_the_same_bytes_and_they_carry_a_checksum(site: Path, tmp_path: Path):
    for name in ("RS_a.zst", "RS_b.zst"):
        write_submissions(site, tmp_path / name)

    data = (tmp_path / "RS_a.zst").read_bytes()
    assert data == (tmp_path / "RS_b.zst").read_bytes()
    assert data[4] & 0b100  # frame header descriptor: content checksum flag (RFC 8878, 3.1.1.1.1)


def test_the_histogram_counts_every_score_in_its_range():
    counts = histogram([0, 1, 1, 2, 3, 5, 6, 1000])

    assert counts == {"0-1": 3, "2": 1, "3-5": 2, "6-10": 1, "11-30": 0, "31-100": 0, "101-300": 0, "301+": 1}
    assert next(histogram_lines(counts)) == f"     0-1 links      3 pages  {'#' * 40}"
