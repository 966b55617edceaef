"""A study of every kind of arm for real: networks of some hundred steps, trained, evaluated and reported."""

import json
from pathlib import Path

import pytest
import yaml

from pipeline.config import load
from pipeline.formats.run import Run
from pipeline.report import page
from pipeline.study import collect, plan, stage
from tests.pipeline.study.in_process import Here
from tests.pipeline.train.conftest import dataset  # noqa: F401 - a fixture

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

BITS = "held_out.bits_per_byte"


@pytest.fixture
def path(tmp_path: Path, dataset: Path) -> Path:  # noqa: F811
    """The file of a study of four depths."""
    values = {
        "out": str(tmp_path / "study"),
        "data": str(dataset),
        "train": {
            "model": {"n_ctx": 16, "vocab_size": 300},
            "optim": {"lr": 1.0},
            "schedule": {"kind": "cosine"},
            "global_batch_tokens": 64,
            "engine": {"kind": "single", "device": "cpu", "threads": 1},
        },
        "evaluate": {"tasks": [{"kind": "held_out", "split": "validation", "tokens": 500}], "device": "cpu"},
        "dial": {
            "depths": [1, 2, 3, 4],
            "aspect": 8,
            "head_size": 8,
            "seeds": [0, 1],
            "repeated_below": 2000,
        },
        "arms": [
            {"name": "fixed", "tokens": {"count": 1280}},
            {"name": "optimal", "tokens": {"per_parameter": 0.2}},
            {"name": "isoflop", "rungs": ["d1", "d2"], "tokens": {"flops": [1.2e8, 2.4e8]}},
            {"name": "horizons", "rungs": ["d2"], "tokens": {"branches": [640, 1280], "decay_fraction": 0.4}},
        ],
        "learning_rate": {"base": 0.01, "base_width": 16, "exponent": -0.5},
        "check": {"factors": [0.25, 1, 2]},
    }
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


def test_a_small_study_of_every_kind_of_arm_comes_to_a_report(path: Path) -> None:
    here = Here()
    config = load(stage.Config, path)

    stage.run(config, stage.plan(config), lambda _: here)

    out = path.parent / "study"
    runs = plan.read(out / "plan.json")
    points = {p.name: p for p in collect.read(out / "points.csv") if p.metric == BITS}
    assert set(points) == {run.name for run in runs.points}
    assert all(0 < (point.value or 0) < 20 and point.stderr for point in points.values())
    for run in runs.runs:
        rows = [row for row in Run(out / "runs" / run.name).rows() if row.get("loss") is not None]
        assert rows[-1]["tokens"] == run.tokens
        assert rows[0]["tokens"] > run.parent_tokens, "a branch begins where its trunk is"
    verdict = json.loads((out / "verdict.json").read_text())
    assert [arm["name"] for arm in verdict["arms"]] == ["fixed", "optimal", "isoflop", "horizons", "check"]
    assert verdict["held_out"]["predicted_before_training"] is True
    assert [size["rung"] for size in verdict["check"]["sizes"]] == ["d1", "d4"]
    assert {path.name for path in (out / "fits").iterdir()} >= {"choice.json", "optimal-choice.json"}

    told = page.write(out).read_text()

    assert all(name in told for name in ("optimal", "isoflop", "horizons"))
    started = len(here.started)
    assert stage.run(config, stage.plan(config), lambda _: here).startswith("finished already:")
    assert len(here.started) == started
