"""Scores of tasks along one run."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.formats.results import Result, Results
from pipeline.formats.run import writing
from pipeline.report import page, progress
from pipeline.report.sources import find


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    """A run of which three checkpoints were evaluated on two tasks, and one of them on a third."""
    run = tmp_path / "run"
    with writing(run) as writer:
        writer.write_config("seed: 1\n")
        for step in range(1, 41):
            writer.append({"step": step, "tokens": step * 1000, "loss": 3.0})
    for step in (10, 20, 40):
        figures = [
            figure("lambada", "accuracy_last_word", step / 100),
            figure("held_out", "bits_per_byte", 2.0),
        ]
        if step == 40:
            figures.append(figure("cbt_cn", "accuracy", 0.5))
        suite = Results(checkpoint=f"step-{step}", weights_hash="w", origin={}, results=tuple(figures))
        suite.write(run / "results" / f"step-{step:08d}" / "watch.json")
    return run


def figure(task: str, metric: str, value: float) -> Result:
    return Result(
        task=task, metric=metric, value=value, stderr=0.01, num_examples=9, dtype="fp32",
        data_sha256="0", protocol="p",
    )  # fmt: skip


def test_each_evaluated_checkpoint_is_a_point_at_the_tokens_it_had_seen(watched: Path) -> None:
    curves = progress.curves_of(find(watched))

    found = {key: [(tokens, score.value) for tokens, score in curve] for key, curve in curves.items()}
    assert found == {
        ("lambada", "accuracy_last_word"): [(10_000, 0.1), (20_000, 0.2), (40_000, 0.4)],
        ("held_out", "bits_per_byte"): [(10_000, 2.0), (20_000, 2.0), (40_000, 2.0)],
    }


def test_shares_and_bits_are_drawn_apart_and_said_in_words(watched: Path) -> None:
    figures = progress.section(find(watched)).values["figures"]

    assert [one.name for one in figures] == ["progress-shares", "progress-bits"]
    assert figures[0].description == "LAMBADA from 10.0 to 40.0"
    assert figures[1].description == "held out from 2.00 to 2.00"


def test_the_section_is_there_only_where_there_is_a_curve(watched: Path) -> None:
    assert '<section id="progress">' in page.render(find(watched))
    for step in (10, 20):
        (watched / "results" / f"step-{step:08d}" / "watch.json").unlink()

    assert progress.curves_of(find(watched)) == {}
    (watched / "metrics.jsonl").write_text("")
    assert progress.curves_of(find(watched)) == {}
