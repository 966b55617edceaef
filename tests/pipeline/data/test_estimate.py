from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config import load
from pipeline.data import estimate
from pipeline.data.counts import PhaseCounts
from pipeline.data.marks import Mark
from pipeline.data.stage import Config

WEBTEXT = Path(__file__).parents[3] / "configs" / "data" / "webtext.yaml"


def configured(out: Path, *overrides: str) -> Config:
    return load(Config, WEBTEXT, [f"out={out}", f"links.inputs=[{out}/none.zst]", *overrides])


def costs(config: Config) -> dict[str, estimate.Cost]:
    return {cost.phase: cost for cost in estimate.costs(config)}


def test_without_any_input_the_paper_is_planned(tmp_path: Path) -> None:
    found = costs(configured(tmp_path))

    assert found["fetch"].into.count == 45e6
    assert found["tokenize"].out.count == pytest.approx(8e6, rel=0.05)
    assert found["tokenize"].into.size == pytest.approx(40e9, rel=0.05)
    assert "9.2 B tokens" in found["tokenize"].note


def test_the_pace_of_the_largest_domain_bounds_the_crawl(tmp_path: Path) -> None:
    polite, hasty = (
        costs(configured(tmp_path, f"fetch.host_delay_seconds={delay}"))["fetch"] for delay in (1, 0)
    )

    assert polite.hours == pytest.approx(1.54e6 / 3600)
    assert "1,540,000 links" in polite.note
    assert hasty.hours == pytest.approx(45e6 * estimate.LINK_SECONDS / 256 / 3600)
    assert hasty.note == ""


def test_links_that_are_counted_replace_the_papers(tmp_path: Path) -> None:
    config = configured(tmp_path)
    counts = PhaseCounts(documents_in=500, documents_out=400, dropped={"repeat": 100}).to_json()
    Mark(phase="links", identity="", after="", inputs={}, seconds=1.0, counts=counts).write(tmp_path)
    surts = ["com,example,www)/a"] * 300 + ["org,example)/b"] * 100
    (tmp_path / "links").mkdir()
    pq.write_table(pa.table({"surt": surts}), tmp_path / "links" / "0.parquet")

    found = costs(config)

    assert found["links"].note == "done"
    assert found["fetch"].into.count == 400
    assert found["fetch"].note.startswith("largest domain: 300 links")
    assert found["fetch"].disk == 400 * estimate.FETCHED * estimate.PAGE_BYTES == found["fetch"].out.size


def test_more_tasks_at_a_time_shorten_hours_and_leave_core_hours(tmp_path: Path) -> None:
    one, ten = (costs(configured(tmp_path, f"execute.workers={n}"))["extract"] for n in (1, 10))

    assert one.core_hours == ten.core_hours
    assert one.hours == pytest.approx(10 * ten.hours)


def test_the_table_is_aligned_and_sums_up(tmp_path: Path) -> None:
    lines = estimate.describe(configured(tmp_path, "execute.workers=4")).splitlines()

    assert "with 4 tasks at a time" in lines[0]
    assert lines[1].split() == ["phase", "in", "out", "core", "hours", "hours", "disk", "network"]
    assert lines[-1].startswith("in all")
    end = lines[1].index("disk") + len("disk")
    assert all(line[end - 2 : end] in ("GB", "kB", "MB", "TB") for line in lines[2:-1])


def test_a_bloom_filter_tells_its_size_before_anything_is_built(tmp_path: Path) -> None:
    asked = configured(tmp_path, "decontaminate.bloom={}")

    with_filter, without = (costs(each)["decontaminate"] for each in (asked, configured(tmp_path)))

    assert "Bloom filter of" in estimate.describe(asked)
    assert with_filter.disk > without.disk + 8 * with_filter.into.size / 6
