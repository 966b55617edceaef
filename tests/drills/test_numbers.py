"""Bad numbers, in one rank or in all: every rank decides the same, it is told, and none is ever saved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from pipeline.formats.checkpoint import Meta, verify
from pipeline.formats.run import Run
from tests.drills import unlike
from tests.drills.conftest import Drill
from tests.drills.jobs import ENGINES, many_small_steps
from tests.drills.numbers_rank import FAULTS
from tests.pipeline.trainer.groups import run_ranks

STEPS, ROWS, T, RANKS = 12, 4, 16, 2
TOO_MANY = 3  # bad steps in a row, after which a run goes back


@pytest.fixture(scope="module")
def unlike_data(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unlike.make(dataset, tmp_path_factory.mktemp("unlike") / "data")


def values_of(data: Path, out: Path, engine: str) -> dict:
    """Return a run of twelve steps of four windows."""
    return many_small_steps(
        data,
        out=str(out),
        engine={**ENGINES[engine], "device": "cpu", "threads": 1},
        schedule={"warmup_tokens": 64},
        global_batch_tokens=ROWS * T,
        train_tokens=STEPS * ROWS * T,
        micro_batch_sequences=1,
        validation={"every_steps": 4, "tokens": 128},
        checkpoint={"every_steps": 2, "keep": STEPS},
        spikes={"rollback_after": TOO_MANY, "max_rollbacks": 1},
    )


def windows_of(data: Path, steps: range, ranks: list[int]) -> list[list[int]]:
    """Return one window that each of the ranks sees in each of the steps, counted from 1."""
    windows = unlike.stream(data, T, STEPS * ROWS)
    return [windows[(step - 1) * ROWS + rank] for step in steps for rank in ranks]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ddp", "fsdp2", "ZeRO-2"])
def test_bad_numbers_are_met_alike_on_every_rank_told_and_never_saved(
    drill: Drill, unlike_data: Path, tmp_path: Path, engine: str
) -> None:
    drill.promise(
        "R11", f"NaN, infinity or overflow in loss or gradients, of one rank or of all, {engine} on 2"
    )
    trials, expected = [], []
    for number in drill.trials(few=4, full=20):
        fault = drill.random.choice(sorted(FAULTS))
        ranks = drill.random.choice([[0], [1], [0, 1]])
        length = drill.random.randint(1, TOO_MANY)
        first = drill.random.randint(3, STEPS + 1 - length)
        bad = range(first, first + length)
        values = values_of(unlike_data, tmp_path / f"{number}", engine)
        trials.append({"values": values, "fault": fault, "windows": windows_of(unlike_data, bad, ranks)})
        expected.append((fault, bad))
    (tmp_path / "trials.json").write_text(json.dumps(trials))
    run_ranks("tests.drills.numbers_rank", [str(tmp_path)], RANKS)

    one, other = (json.loads((tmp_path / f"decided-{rank}.json").read_text()) for rank in range(RANKS))
    for number, (fault, bad) in enumerate(expected):
        assert one[number] == other[number], "every rank decides the same"
        assert [step for step, applied, *_ in one[number] if not applied] == list(bad), fault
        assert_told(Run(tmp_path / f"{number}"), fault, bad)
        assert_nothing_bad_is_saved(Run(tmp_path / f"{number}"), bad)
        drill.passed()


def assert_told(run: Run, fault: str, bad: range) -> None:
    """Hold the metrics to tell each bad step, its windows and what came of it."""
    events = [row for row in every_row(run) if row.get("event") == "skipped step"]
    assert [(row["step"], row["reason"], row["windows"]) for row in events] == [
        (step, "not finite", [(step - 1) * ROWS, step * ROWS]) for step in bad
    ]
    assert all((row["loss"] is None) == ("in the loss" in fault) for row in events)
    rollbacks = [row for row in run.rows() if row.get("event") == "rollback"]
    assert len(rollbacks) == (len(bad) == TOO_MANY)
    if rollbacks:
        assert rollbacks[0]["skipped_windows"] == [(bad[0] - 1) * ROWS, bad[-1] * ROWS]


def every_row(run: Run) -> list[dict]:
    return run.rewound_rows() + run.rows()


def assert_nothing_bad_is_saved(run: Run, bad: range) -> None:
    """Hold every checkpoint to be finite, none to be of a bad step, and the last to count the good ones."""
    assert run.finished
    for checkpoint in run.checkpoints():
        meta = verify(checkpoint)
        assert not meta.watch["skipped_in_a_row"] or meta.complete
        for file in checkpoint.glob("*/*.safetensors"):
            assert all(bool(tensor.isfinite().all()) for tensor in load_file(file).values())
    skipped = len(bad) if len(bad) < TOO_MANY else 0
    index = json.loads((run.checkpoints()[-1] / "state" / "index.json").read_text())
    assert index["optimizer_steps"] == STEPS - skipped
    assert Meta.read(run.checkpoints()[-1]).complete
