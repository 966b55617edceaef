"""The report of a dataset that is not whole: what stands in its files, and nothing that does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.data.counts import PhaseCounts
from pipeline.data.execute import ExecuteConfig, run_tasks
from pipeline.data.marks import Mark
from pipeline.errors import StageError
from pipeline.formats.publish import write_json
from pipeline.report import building, examples, page
from pipeline.report.sources import find

PHASES = ("links", "fetch", "extract", "filter", "dedup")


@pytest.fixture
def unfinished(whole: Path, tmp_path: Path) -> Path:
    """A dataset whose links and fetch are done, and whose extraction is at work."""
    dataset = shutil.copytree(whole / "data", tmp_path / "data")
    (dataset / "manifest.json").unlink()
    (dataset / ".phases").mkdir()
    (dataset / ".phases" / "order.txt").write_text("\n".join(PHASES))
    for name, came, dropped in (("links", 90, {"below-karma": 40}), ("fetch", 50, {"dns": 10})):
        counts = PhaseCounts(documents_in=came, documents_out=came - sum(dropped.values()), dropped=dropped)
        Mark(
            phase=name, identity="", after="", inputs={}, seconds=2.0, counts=counts.to_json()
        ).write(dataset)  # fmt: skip
    return dataset


def stop_after_the_first(data: object, rank: int, world_size: int) -> None:
    if rank:
        raise RuntimeError("to be done later")


def test_phases_are_told_with_how_far_they_are(unfinished: Path) -> None:
    work = unfinished / ".phases" / "extract-1-2"
    with pytest.raises(StageError):
        run_tasks([stop_after_the_first], 3, work / "tasks", ExecuteConfig(workers=1, retries=0), "extract")
    write_json(
        work / "counts" / "00000.json",
        {"documents_in": 12, "documents_out": 9, "dropped": {"empty": 3}, "extra": {}},
    )

    rows = {row[0]: row[1:] for row in building.section(find(unfinished)).values["phases"].rows}

    assert tuple(rows) == PHASES
    assert rows["fetch"] == ("done in 2 s".replace(" s", "\u00a0s"), "50", "40", "10")
    assert rows["extract"] == ("1 of 3 tasks", "12 so far", "9 so far", "3 so far")
    assert rows["dedup"] == ("to do", "", "", "")


def test_a_crawl_is_told_by_the_links_that_have_an_outcome(unfinished: Path) -> None:
    (unfinished / ".phases" / "fetch.json").unlink()
    (unfinished / ".phases" / "fetch-1-2").mkdir()
    (unfinished / "pages").mkdir()
    for rank, lines in enumerate((3, 4)):
        (unfinished / "pages" / f"journal-{rank:03d}.jsonl").write_text("{}\n" * lines + '{"torn')

    begun = building.begun(unfinished, "fetch")

    assert begun is not None
    assert begun.documents_in == 7
    assert building.begun(unfinished, "dedup") is None


def test_the_page_of_an_unfinished_dataset_shows_what_is_there(unfinished: Path) -> None:
    text = page.write(unfinished).read_text(encoding="utf-8")

    assert "How far it is" in text
    assert "the last phase that is finished, fetch, left 40 pages" in text
    assert "What was kept" not in text
    assert "fewer votes than asked for" in text


def test_a_dataset_that_has_just_begun_has_a_page_too(tmp_path: Path) -> None:
    (tmp_path / ".phases").mkdir()

    text = page.write(tmp_path).read_text(encoding="utf-8")

    assert "no phase is finished yet" in text


def test_samples_come_from_the_last_phase_that_kept_any(unfinished: Path) -> None:
    shutil.move(unfinished / "kept" / "decontaminate", unfinished / "kept" / "wikipedia")

    assert len(examples.section(find(unfinished)).values["kept"]) == 4
