"""Ranks that go and come: the curve stays what it was, and every window is seen once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from pipeline.config import load
from pipeline.formats.run import Run
from pipeline.train import stage
from tests.drills import unlike
from tests.drills.conftest import Drill
from tests.drills.jobs import ENGINES, many_small_steps
from tests.pipeline.trainer.groups import run_ranks

STEPS, ROWS, T = 200, 8, 16
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def unlike_data(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unlike.make(dataset, tmp_path_factory.mktemp("unlike") / "data")


@pytest.fixture(scope="module")
def undisturbed(unlike_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """Return the losses of one process that nobody disturbs."""
    out = tmp_path_factory.mktemp("whole")
    config = load(stage.Config, written(unlike_data, out, "single"))
    stage.run(config, stage.plan(config))
    return losses(Run(out / "run"))


def written(data: Path, folder: Path, engine: str) -> Path:
    """Write the configuration of a run in fp32 without dropout."""
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 32, "n_ctx": T, "vocab_size": 300}
    values = many_small_steps(
        data,
        out=str(folder / "run"),
        engine={**ENGINES[engine], "device": "cpu", "threads": 1},
        model=shape,
        global_batch_tokens=ROWS * T,
        train_tokens=STEPS * ROWS * T,
        micro_batch_sequences=1,
        validation={"every_steps": 0, "tokens": 128},
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "train.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def losses(run: Run) -> list[float]:
    rows = [row for row in run.rows() if "lr" in row]
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    return [row["loss"] for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["fsdp2", "ZeRO-2"])
def test_a_run_shrinks_from_four_ranks_to_two_and_grows_back(
    drill: Drill, unlike_data: Path, undisturbed: list[float], tmp_path: Path, engine: str
) -> None:
    drill.promise("R3", f"4 ranks to 2 and back to 4 amid a run, {engine}")
    for number in drill.trials(few=1, full=2):
        folder = tmp_path / str(number)
        config = written(unlike_data, folder, engine)
        run = Run(folder / "run")
        shrinks, grows = sorted(drill.random.sample(range(20, STEPS - 20), 2))
        ends = drill.random.sample(["stop", "kill"], 2)
        seen: dict[int, list] = {}
        for ranks, end, last in ((4, ends[0], shrinks), (2, ends[1], grows), (4, "finish", STEPS)):
            part = folder / f"{last}"
            part.mkdir()
            run_ranks("tests.drills.elastic_rank", [str(config), str(part), end, str(last)], ranks)
            # Steps beyond the checkpoint that is gone back to are taken again.
            seen |= windows_by_step(part, ranks)
        assert run.finished
        assert [attempt["plan"]["world_size"] for attempt in run.attempts()] == [4, 2, 4]
        stream = unlike.stream(unlike_data, T, STEPS * ROWS)
        assert len(set(map(tuple, stream))) == len(stream)
        for step in range(1, STEPS + 1):
            assert seen[step] == sorted(stream[(step - 1) * ROWS : step * ROWS])
        assert losses(run) == pytest.approx(undisturbed, abs=TOLERANCE, rel=0)
        drill.passed()


def windows_by_step(folder: Path, ranks: int) -> dict[int, list]:
    """Return what all ranks together were trained on in each step, in sorted order."""
    found: dict[int, list] = {}
    for rank in range(ranks):
        for line in (folder / f"windows-{rank}.jsonl").read_text().splitlines():
            step, windows = json.loads(line)
            found.setdefault(step, []).extend(windows)
    return {step: sorted(windows) for step, windows in found.items()}
