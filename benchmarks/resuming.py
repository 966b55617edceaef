"""From the start of `loglinear train` to its first new step, on a run that goes on from a checkpoint.

    python -m benchmarks.resuming STARTED CONFIG [key=value …]     the command itself, in a process of its own

The process is the real one; around what it calls stand clocks, whose figures it prints before it is ended.
"""

from __future__ import annotations

import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import first_step

PARTS = {
    "dataset checked": "pipeline.formats.manifest:Manifest.check",
    "model": "pipeline.train.loop:GPT",
    "checkpoint verified": "pipeline.formats.checkpoint:verify",
    "state read": "pipeline.trainer.single:Single.load_state",
    "first step": "pipeline.trainer.single:Single.train_step",
}
IMPORTED = ("pipeline.cli", "pipeline.train.stage", "pipeline.train.loop", "pipeline.trainer.single")


def measure(folder: Path, runs: int, threads: int | None) -> dict[str, list[float]]:
    """Return the seconds of each part of each start, and print their medians."""
    dataset, out = folder / "dataset", folder / "run"
    first_step.write(dataset)
    words = [
        *first_step.SETTINGS, f"data={dataset}", f"out={out}", "log_every_steps=1",
        *([f"engine.threads={threads}"] if threads else []),
    ]  # fmt: skip
    _leave_a_checkpoint(out, words)
    starts = [_start([*words, "checkpoint.every_steps=0"]) for _ in range(runs)]
    found = {part: [start[part] for start in starts] for part in starts[0]}
    print("from `loglinear train` to its first new step, going on from a checkpoint; medians:")
    for part, seconds in found.items():
        print(f"    {statistics.median(seconds):6.2f} s  {part}")
    return found


def _leave_a_checkpoint(out: Path, words: list[str]) -> None:
    """Start a run and kill it once it has a checkpoint."""
    command = [sys.executable, "-m", "pipeline", "train", str(first_step.CONFIG), *words]
    child = subprocess.Popen([*command, "checkpoint.every_steps=1"], stderr=subprocess.DEVNULL)
    until = time.monotonic() + first_step.PATIENCE_SECONDS
    while not list(out.glob("checkpoints/step-*/meta.json")):
        if child.poll() is not None or time.monotonic() > until:
            sys.exit(f"{out}: no checkpoint")
        time.sleep(0.05)
    child.kill()
    child.wait()


def _start(words: list[str]) -> dict[str, float]:
    """Return the seconds of each part of one start, and their sum."""
    command = [sys.executable, "-m", "benchmarks.resuming", repr(time.time()), str(first_step.CONFIG), *words]
    told = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    found: dict[str, float] = json.loads(told.stdout.splitlines()[-1])
    return found


def _command(started: float, words: list[str]) -> None:
    """Run the command with clocks in it; ends the process after the first step."""
    spent = Counter({"process": time.time() - started})
    begun = time.perf_counter()
    for name in IMPORTED:
        importlib.import_module(name)
    spent["imports"] = time.perf_counter() - begun
    for part, place in PARTS.items():
        _clock(place, part, spent, after=(lambda: _tell(spent, started)) if part == "first step" else None)
    sys.argv[1:] = ["train", *words]
    importlib.import_module("pipeline.cli").main()


def _clock(place: str, part: str, spent: Counter[str], after: Callable[[], None] | None) -> None:
    """Put a clock around a function or a class of a module."""
    module, _, name = place.partition(":")
    holder: Any = importlib.import_module(module)
    *outer, name = name.split(".")
    for each in outer:
        holder = getattr(holder, each)
    function = getattr(holder, name)

    def clocked(*arguments: Any, **settings: Any) -> Any:
        begun = time.perf_counter()
        found = function(*arguments, **settings)
        spent[part] += time.perf_counter() - begun  # type: ignore[assignment]
        if after:
            after()
        return found

    setattr(holder, name, clocked)


def _tell(spent: Counter[str], started: float) -> None:
    total = time.time() - started
    rest = total - sum(spent.values())
    print(json.dumps({**spent, "everything else": rest, "in all": total}))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    _command(float(sys.argv[1]), sys.argv[2:])
