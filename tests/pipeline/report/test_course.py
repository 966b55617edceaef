"""What the report of a run says of restarts, skipped steps, rollbacks and samples drawn on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline.formats.run import writing
from pipeline.report import course, curves, page
from pipeline.report.sources import find

MODEL = {"n_layer": 2, "n_head": 2, "n_embd": 32, "n_ctx": 64, "vocab_size": 512}


@pytest.fixture
def troubled(tmp_path: Path) -> Path:
    """Return a run that was restarted once, skipped steps, went back once and drew samples."""
    directory = tmp_path / "troubled"
    with writing(directory) as writer:
        writer.write_config(
            yaml.safe_dump({"out": str(directory), "model": MODEL, "seed": 1, "optim": {"lr": 0.1}})
        )
        for step in range(1, 41):
            writer.append(
                {
                    "step": step, "tokens": step * 1000, "loss": 6 / step**0.3, "mfu": 0.25,
                    "tokens_per_second": 900.0, "step_seconds": 2.0, "data_seconds": 0.05,
                    "goodput": 0.9, "elapsed_seconds": step * 2.2, "memory_bytes": 10**8,
                }
            )  # fmt: skip
            if step in (11, 12):
                writer.append({"step": step, "event": "skipped step", "reason": "spike", "loss": 7.0})
            if step == 20:
                writer.append({"step": step, "event": "rollback", "rollbacks": 1, "from_step": 24})
                writer.append({"step": step, "event": "resumed", "attempt": 1})
            if step in (30, 40):
                for number, prompt in enumerate(("", "Once upon")):
                    writer.append(
                        {"step": step, "event": "sample", "number": number, "prompt": prompt,
                         "text": f" <b>drawn</b> at {step}"}
                    )  # fmt: skip
    moved = '{"step":22,"event":"skipped step"}\n{"step":23,"event":"skipped step"}\n'
    (directory / "metrics.attempt-000.jsonl").write_text(moved)
    return directory


def test_events_are_marked_where_they_happened(troubled: Path) -> None:
    curve = curves.curve_of(find(troubled).runs[0])

    assert curve.skipped == [11_000, 12_000]
    assert curve.rollbacks == [20_000]


def test_time_and_trouble_are_told_those_that_were_undone_included(troubled: Path) -> None:
    told = dict(course.facts(find(troubled).runs[0]))

    assert told["skipped steps"] == "4"
    assert (told["rollbacks"], told["restarts"]) == ("1", "1")
    assert told["goodput"].startswith("90.0")
    assert told["waiting for data"].startswith("2.5")
    assert told["MFU, median"].startswith("25.0")


def test_the_page_of_a_run_shows_marks_facts_and_the_last_samples(troubled: Path) -> None:
    text = page.write(troubled).read_text(encoding="utf-8")

    assert "strokes are skipped steps, crosses rollbacks" in text
    assert "<dt>goodput</dt>" in text
    assert "drawn&lt;/b&gt; at 40" in text
    assert "at 30" not in text
    assert "<b>drawn" not in text
