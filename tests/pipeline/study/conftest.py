"""A small study whose jobs are the stand-in, in child processes started through the launcher's seam."""

import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml

from launch.launcher import Job, Submission
from launch.process import Process
from pipeline.config import load
from pipeline.formats.manifest import Manifest
from pipeline.formats.shards import ShardWriter
from pipeline.study import stage
from tests.pipeline.study import stand_in
from tests.pipeline.study.in_process import Here

STAND_IN = Path(__file__).with_name("stand_in.py")

Run = Callable[..., str]
"""Carries a study out with overrides, and returns what it says."""

DRIVER = """
import sys
sys.path.insert(0, sys.argv[2])
from conftest import Children
from pathlib import Path
from pipeline.config import load
from pipeline.study import stage
config = load(stage.Config, Path(sys.argv[1]))
stage.run(config, stage.plan(config), Children)
"""


class InThread:
    """A started job of `Threads`."""

    def __init__(self, job: Job):
        self.id = job.name
        self._code: int | None = None
        job.log.parent.mkdir(parents=True, exist_ok=True)
        self._thread = threading.Thread(target=self._work, args=(job,))
        self._thread.start()

    def poll(self) -> int | None:
        return self._code

    def wait(self) -> int:
        self._thread.join()
        assert self._code is not None
        return self._code

    def stop(self) -> None:
        self._thread.join()

    def _work(self, job: Job) -> None:
        with job.log.open("a") as log:
            try:
                self._code = stand_in.main(job.argv[0], Path(job.argv[1]), log)
            except Exception:
                log.write(traceback.format_exc())
                self._code = 1


@dataclass(frozen=True)
class Threads:
    """A launcher that plays the jobs in threads of this process: quick, and nothing to clean up."""

    threads: int

    def script(self, job: Job) -> str:
        return " ".join(job.argv)

    def submit(self, job: Job) -> Submission:
        return InThread(job)


@dataclass(frozen=True)
class Children:
    """A launcher that plays the jobs in child processes, which can be killed."""

    threads: int

    def script(self, job: Job) -> str:
        return " ".join(job.argv)

    def submit(self, job: Job) -> Submission:
        command = [sys.executable, str(STAND_IN), *job.argv]
        return Process(command, job.log, {**os.environ, **job.environment})


@dataclass(frozen=True)
class Study:
    """A study in a directory of its own."""

    path: Path
    out: Path
    diary: Path

    def config(self, *overrides: str) -> stage.Config:
        return load(stage.Config, self.path, overrides)

    def run(self, *overrides: str) -> str:
        config = self.config(*overrides)
        return stage.run(config, stage.plan(config), Threads)

    def run_and_kill(self, jobs: int) -> None:
        """Start the study in a process, and end it and all its own as soon as so many jobs have begun."""
        command = [sys.executable, "-c", DRIVER, str(self.path), str(Path(__file__).parent)]
        environment = {**os.environ, "STAND_IN_DELAY": "0.05"}
        child = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        while len(self.jobs) < jobs:
            assert child.poll() is None
            time.sleep(0.02)
        started = psutil.Process(child.pid).children(recursive=True)  # each has a session of its own
        for process in (child, *started):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        child.wait()
        psutil.wait_procs(started, timeout=10)

    @property
    def jobs(self) -> list[str]:
        return self.diary.read_text().splitlines() if self.diary.exists() else []


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    found = write_study(tmp_path)
    monkeypatch.setenv("STAND_IN_DIARY", str(found.diary))
    return found


@pytest.fixture
def here() -> Here:
    return Here()


@pytest.fixture
def run(path: Path, here: Here) -> Run:
    """Carries out the study whose file is the test's own `path`."""

    def run(*overrides: str) -> str:
        config = load(stage.Config, path, overrides)
        return stage.run(config, stage.plan(config), lambda _: here)

    return run


def write_study(folder: Path) -> Study:
    """Write the configuration of a ladder of five widths, and its dataset."""
    data = _dataset(folder / "data")
    widths = [8, 16, 24, 32, 48]
    config = {
        "out": str(folder / "study"),
        "data": str(data),
        "train": {
            "model": {"n_ctx": 16, "vocab_size": 32},
            "optim": {"lr": 1.0},
            "schedule": {"kind": "cosine"},
            "global_batch_tokens": 64,
        },
        "evaluate": {"tasks": [{"kind": "held_out"}]},
        "rungs": [
            {
                "name": f"w{w}",
                "model": {"n_layer": 2, "n_head": 2, "n_embd": w},
                "seeds": [0, 1] if w < 32 else [0],
            }
            for w in widths
        ],
        "learning_rate": {"base": 0.01, "base_width": 32, "exponent": -1.0},
        "tokens": {"count": 640},
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(config))
    return Study(path=path, out=folder / "study", diary=folder / "diary")


def _dataset(directory: Path) -> Path:
    (directory / "shards").mkdir(parents=True)
    writer = ShardWriter(directory / "shards" / "train-00000.ds", np.uint16)
    writer.write([1] * 499 + [0])
    shard = writer.close()
    manifest = Manifest(
        tokenizer="test",
        tokenizer_fingerprint="0",
        vocab_size=32,
        dtype="uint16",
        eot_id=0,
        splits={"train": (shard,)},
        text_bytes={"train": 500},
    )
    manifest.write(directory)
    return directory
