"""Runs that drills start as a user would, disturb from outside, and hold to one that nobody disturbed."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import yaml

from pipeline.formats.checkpoint import verify
from pipeline.formats.run import Run
from tests.drills.conftest import Drill
from tests.drills.started import start as begin

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 600.0  # a job that takes ten seconds alone takes minutes on a busy machine
STEPS, VALIDATED_EVERY, SAVED_EVERY = 100, 20, 12
ENGINES: dict[str, dict[str, Any]] = {
    "single": {"kind": "single"},
    "ddp": {"kind": "ddp"},
    "fsdp2": {"kind": "fsdp2"},
    "ZeRO-2": {"kind": "deepspeed", "zero_stage": 2},
}
VALIDATED = ("validation_loss", "validation_stderr", "bits_per_byte")
Command = subprocess.Popen[str]


def many_small_steps(dataset: Path, **changes: Any) -> dict:
    """Return a run of a few seconds, a sixth of them spent saving: dropout, several micro-batches a step."""
    return {
        "data": str(dataset),
        "model": {"n_layer": 2, "n_head": 2, "n_embd": 32, "n_ctx": 16, "vocab_size": 300, "dropout": 0.1},
        "optim": {"lr": 1e-3},
        "schedule": {"warmup_tokens": 512},
        "global_batch_tokens": 128,
        "train_tokens": STEPS * 128,
        "micro_batch_sequences": 2,
        "validation": {"every_steps": VALIDATED_EVERY, "tokens": 512},
        "checkpoint": {"every_steps": SAVED_EVERY, "keep": 2},
        "log_every_steps": 1,
        **changes,
    }


class Job:
    """One run, started again and again by the same command: `loglinear train CONFIG --on LAUNCH`."""

    def __init__(self, folder: Path, values: dict, engine: str, processes: int):
        folder.mkdir(parents=True)
        self.run = Run(folder / "run")
        self._folder, self.processes = folder, processes
        kind = {**ENGINES[engine], "device": "cpu", "threads": 1}
        self._config = folder / "train.yaml"
        self._config.write_text(yaml.safe_dump({**values, "out": str(self.run.directory), "engine": kind}))

    def start(self, processes: int | None = None) -> Command:
        """Start the command, on as many processes as always or as said."""
        count = processes or self.processes
        several = {"kind": "torchrun", "processes": count}
        on = self._folder / f"on-{count}.yaml"
        on.write_text(yaml.safe_dump(several if count > 1 else {"kind": "local", "threads": 1}))
        return begin(
            [sys.executable, "-m", "pipeline", "train", str(self._config), "--on", str(on)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, processes: int | None = None) -> str:
        """Run the command to the end of the run; return what it told."""
        code, told = ended(self.start(processes))
        assert code == 0, told[-3000:]
        return told

    def ranks(self) -> list[psutil.Process]:
        """Return the processes that train, in the order of their ranks."""
        found = {}
        for process in self.alive():
            with contextlib.suppress(psutil.Error):
                words = process.cmdline()
                if "--on" not in words and "torch.distributed.run" not in words:
                    found[int(process.environ().get("RANK", 0))] = process
        return [found[rank] for rank in sorted(found)]

    def kill_rank(self, command: Command, rank: int) -> None:
        """Kill one rank, as soon as all are there."""
        if wait_for(command, lambda: len(self.ranks()) == self.processes):
            with contextlib.suppress(psutil.NoSuchProcess, IndexError):
                self.ranks()[rank].kill()

    def kill_all(self, first: Iterable[psutil.Process] = ()) -> None:
        """Kill the command and all that it has started; those that are known already without a search."""
        for process in first:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        while found := self.alive():
            for process in found:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            time.sleep(0.01)  # the command is its parent's to wait for

    def alive(self) -> list[psutil.Process]:
        """Return the processes whose command names this run's folder, the command first."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if any(str(self._folder) in word for word in process.cmdline()) and _runs(process):
                    found.append(process)
        return sorted(found, key=lambda process: process.create_time())


def ended(command: Command) -> tuple[int, str]:
    """Return a command's exit code and what it told; one that never ends is killed and fails the drill."""
    try:
        told = command.communicate(timeout=PATIENCE_SECONDS)[1]
    except subprocess.TimeoutExpired:
        command.kill()
        raise AssertionError(f"no end within {PATIENCE_SECONDS:.0f} s:\n{command.communicate()[1]}") from None
    return command.returncode, told


def wait_for(command: Command, happens: Callable[[], Any]) -> bool:
    """Wait until something happens; tell whether it did before the command ended."""
    until = time.monotonic() + PATIENCE_SECONDS
    while command.poll() is None:
        if happens():
            return True
        assert time.monotonic() < until, f"did not happen within {PATIENCE_SECONDS:.0f} s"
        time.sleep(0.005)
    return False


def hold(
    drill: Drill,
    jobs: Iterator[Job],
    whole: Run,
    disturb: Callable[[Job], bool],
    few: int = 1,
    full: int = 20,
) -> None:
    """Disturb a run once for each trial, hold it to one that nobody disturbed, and count the trials.

    `disturb` starts the command and sees it end; it is asked again, of the next run, where it tells that the
    run came to its end before anything befell it.
    """
    job, disturbances = next(jobs), 0
    for _ in drill.trials(few, full):
        while not disturb(job):
            assert_same(job.run, whole)
            drill.passed(disturbances)
            job, disturbances = next(jobs), 0
        disturbances += 1
    job.finish()
    assert_same(job.run, whole)
    drill.passed(disturbances)


def assert_same(found: Run, whole: Run) -> None:
    """Hold a finished run to another: every logged number and every tensor that was saved, bit by bit."""
    assert numbers(found) == numbers(whole)
    assert sums(found) == sums(whole)


def numbers(run: Run) -> list[tuple]:
    """Return what was logged of steps and validations, exactly; each is there once, in order."""
    rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    steps = [_exactly(row, ("loss", "grad_norm", "lr")) for row in rows if "lr" in row]
    validations = [_exactly(row, VALIDATED) for row in rows if "validation_loss" in row]
    last, every = steps_of(run), yaml.safe_load(run.config.read_text())["validation"]["every_steps"]
    assert [row[0] for row in steps] == list(range(1, last + 1))
    assert [row[0] for row in validations] == (list(range(every, last + 1, every)) if every else [last])
    return steps + validations


def sums(run: Run) -> dict[str, str]:
    """Return the sums of the last checkpoint's weights, moments and generators, read back to be sure."""
    assert run.finished
    meta = verify(run.checkpoints()[-1])
    return {name: meta.blake3[name] for name in meta.blake3 if name.endswith(".safetensors")}


def steps_of(run: Run) -> int:
    """Return the number of the last step of a run that has begun."""
    return int(run.attempts()[0]["plan"]["steps"])


def _exactly(row: dict, names: Iterable[str]) -> tuple:
    values = [row[name] for name in names]  # null where a single batch has no spread
    return (row["step"], row["tokens"], *(value if value is None else float(value).hex() for value in values))


def _runs(process: psutil.Process) -> bool:
    return process.status() != psutil.STATUS_ZOMBIE
