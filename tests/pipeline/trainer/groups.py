"""Groups of processes on gloo for the tests of engines, and what each family of engines found in one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.trainer.engines import single
from tests.pipeline.trainer import tiny

ROOT = Path(__file__).parents[3]
SINGLE = single.Config(device="cpu", threads=1)
PATIENCE_SECONDS = 240


def run_family(family: str, folder: Path, world_size: int) -> dict:
    """Return what every cell of a family found, beside the state after two steps that `single` left there."""
    engine = tiny.build(SINGLE)
    tiny.take(engine, [0, 1])
    engine.save_state(folder / "single").wait()
    strict = family in ("ddp", "fsdp2")
    run_ranks(
        "tests.pipeline.trainer.ranks", [family, str(folder)], world_size, "error" if strict else "ignore"
    )
    return json.loads((folder / "found.json").read_text())


def run_ranks(module: str, arguments: list[str], world_size: int, warnings: str = "ignore") -> None:
    """Run a module in every process of a group; as one fails, the others are ended and its output shown."""
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(world_size)}
    shared |= {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": warnings, "LOCAL_WORLD_SIZE": str(world_size)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(world_size)
    ]
    until = time.monotonic() + PATIENCE_SECONDS
    while any(process.poll() is None for process in processes) and time.monotonic() < until:
        if any(process.poll() for process in processes):
            break
        time.sleep(0.05)
    codes = [process.poll() for process in processes]
    for process in processes:
        process.kill()
    outputs = [process.communicate()[0] for process in processes]
    failed = [output for output, code in zip(outputs, codes, strict=True) if code] or outputs
    assert codes == [0] * world_size, "\n".join(failed)[-5000:]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def close(found, expected, tolerance=1e-5):
    """Hold rows of steps to others: loss and norm within a tolerance, targets and decisions equal."""
    assert len(found) == len(expected)
    for got, want in zip(found, expected, strict=True):
        assert got[0] == pytest.approx(want[0], abs=tolerance, nan_ok=True), "loss"
        assert got[1] == pytest.approx(want[1], abs=tolerance, nan_ok=True), "grad norm"
        assert got[2:] == want[2:], "targets counted, step applied"
