"""Two processes: they save together or not at all, whatever happens to one of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from pipeline.config import validate
from pipeline.formats.checkpoint import Meta, verify
from pipeline.formats.run import Run
from pipeline.train import stage
from pipeline.train.stage import Config
from tests.pipeline.trainer.groups import ROOT, free_port, run_ranks


def curve(found: Run) -> list[tuple]:
    return [(row["step"], row["loss"], row["grad_norm"]) for row in found.rows() if "lr" in row]


def losses(found: Run) -> list[float]:
    """Return the losses of all steps and validations."""
    return [row[name] for name in ("loss", "validation_loss") for row in found.rows() if name in row]


def weights(found: Run) -> dict[str, str]:
    sums = Meta.read(found.checkpoints()[-1]).blake3
    return {name: sums[name] for name in sums if name.endswith(".safetensors")}


@pytest.fixture
def shared(values) -> dict:
    """Nine steps over two processes with dropout, a checkpoint every three."""
    return {
        **values,
        "engine": {"kind": "ddp", "device": "cpu", "threads": 1},
        "train_tokens": 9 * 64,
        "checkpoint": {"every_steps": 3, "keep": 9},
    }


def test_what_befalls_one_rank_is_told_on_all_and_nothing_half_is_published(shared, tmp_path):
    path = tmp_path / "config.yaml"
    shared["model"] = {**shared["model"], "dropout": 0.0}
    path.write_text(yaml.safe_dump(shared))
    run_ranks("tests.pipeline.train.training_rank", [str(path), "faults", str(tmp_path)], 2)
    healthy, found = Run(tmp_path / "healthy"), Run(Path(shared["out"]))

    for rank in range(2):
        failed, stopped = json.loads((tmp_path / f"told-{rank}.json").read_text())
        assert failed[0] == "StageError"
        assert "checkpoint step-00000006 could not be written (rank 1: OSError: " in failed[1]
        assert "No space left on device" in failed[1]
        assert failed[2] == ["step-00000003"]
        assert stopped[0] == "Stopped"
        assert "stopped (SIGUSR1) after step " in stopped[1]
        assert "step-00000006" in stopped[2]
    assert [attempt["ended"]["reason"] for attempt in found.attempts()] == ["failed", "stopped", "finished"]
    assert curve(found) == curve(healthy)
    assert weights(found) == weights(healthy)
    names = set(verify(found.checkpoints()[-1]).blake3)
    assert names >= {f"state/tensors-0000{rank}-of-00002.safetensors" for rank in range(2)}
    assert not [name for name in names if name.endswith(".blake3")]

    # One process sees the same windows, held out and not.
    alone = {**shared, "out": str(tmp_path / "alone"), "engine": {**shared["engine"], "kind": "single"}}
    config = validate(Config, alone, "test")
    stage.run(config, stage.plan(config))
    assert losses(Run(config.out)) == pytest.approx(losses(healthy), abs=1e-5)


def torchrun(values: dict, folder: Path, *how: str) -> subprocess.Popen:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    module = (
        ["tests.pipeline.train.training_rank", str(path), *how] if how else ["pipeline", "train", str(path)]
    )
    port = ["--master-addr", "127.0.0.1", "--master-port", str(free_port())]
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", *port, "-m", *module],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen) -> int:
    _, error = process.communicate(timeout=120)
    return process.returncode if process.returncode == 0 else pytest.fail(error[-3000:])


def rank_of(process: psutil.Process) -> str:
    return process.environ().get("RANK", "")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["fsdp2", "deepspeed"])
@pytest.mark.parametrize("victim", ["0", "1"])
def test_a_rank_killed_while_a_checkpoint_is_written_costs_nothing_but_time(shared, tmp_path, engine, victim):
    shared["engine"] = {**shared["engine"], "kind": engine}
    whole = {**shared, "out": str(tmp_path / "whole")}
    finish(torchrun(whole, tmp_path))

    long = {**shared, "out": str(tmp_path / "killed")}
    process = torchrun(long, tmp_path, "slow", "5")
    folder, until = Run(Path(long["out"])).checkpoint_folder, time.monotonic() + 90
    while not list(folder.glob(".step-00000006.partial-*/state/*-of-00002.safetensors")):
        assert process.poll() is None and time.monotonic() < until, process.communicate()[1][-3000:]
        time.sleep(0.05)
    ranks = [child for child in psutil.Process(process.pid).children() if rank_of(child) == victim]
    os.kill(ranks[0].pid, signal.SIGKILL)
    process.communicate(timeout=90)  # nobody waits for ever

    found = Run(Path(long["out"]))
    assert process.returncode != 0
    assert [path.name for path in found.checkpoints()] == ["step-00000003"]
    finish(torchrun(long, tmp_path))
    assert curve(found) == curve(Run(tmp_path / "whole"))
    assert weights(found) == weights(Run(tmp_path / "whole"))
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
