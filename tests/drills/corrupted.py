"""A run on a dataset to damage, started again as far as its first step, and what it then told."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.config import validate
from pipeline.errors import ConfigError, FormatError
from pipeline.formats.run import Run
from pipeline.train import loop, stage
from pipeline.train.stage import Config
from tests.drills.damage import contents

ROOT = Path(__file__).parents[2]
TRIAL = "trial"  # every copy lies where the run was, so that only the damage is a change
OLDER, NEWER = 2, 4
REMEDY = re.compile(r"restore|build|remove it|is used|go back to|put it back|another")
BOTH = re.compile(r"(blake3|sha256) \w{64}.* \W?\w{64}|\d+ bytes.* \d+")
BINARY = (".safetensors", ".ds", ".index")


@pytest.fixture(scope="module")
def stopped(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset and a run on it that was killed after its checkpoints of steps 2 and 4."""
    folder = tmp_path_factory.mktemp("corruption") / TRIAL
    shutil.copytree(dataset, folder / "dataset")
    config = validate(Config, {**run_values(folder), "checkpoint": {"every_steps": 2, "keep": 9}}, "drill")
    stage.run(config, stage.plan(config))
    shutil.rmtree(Run(config.out).checkpoints()[-1])
    return folder.rename(folder.with_name("stopped"))


def run_values(folder: Path) -> dict[str, Any]:
    """Return a run of six steps of one layer."""
    return {
        "out": str(folder / "run"),
        "data": str(folder / "dataset"),
        "model": {"n_layer": 1, "n_head": 2, "n_embd": 16, "n_ctx": 16, "vocab_size": 300, "dropout": 0.1},
        "optim": {"lr": 1e-2},
        "schedule": {"warmup_tokens": 128},
        "global_batch_tokens": 64,
        "train_tokens": 6 * 64,
        "micro_batch_sequences": 2,
        "engine": {"kind": "single", "device": "cpu", "threads": 1},
        "validation": {"every_steps": 2, "tokens": 256},
        "checkpoint": {"every_steps": 2, "keep": 9},
        "log_every_steps": 1,
    }


@dataclass
class Told:
    """What a start said, whether it refused, and after which step it went on."""

    lines: list[str] = field(default_factory=list)
    refused: bool = False
    step: int | None = None

    def of(self, name: str) -> str:
        """Return the lines about a file or folder."""
        return "\n".join(line for line in self.lines if name in line)


class _Ear(logging.Handler):
    def __init__(self, told: Told):
        super().__init__()
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        self._told.lines.append(record.getMessage())


@pytest.fixture
def resume(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Told]:
    """Start a copy's run again as the command does, up to the first step."""

    def begin(folder: Path) -> Told:
        told = Told()
        ear, log = _Ear(told), logging.getLogger("loglinear")
        monkeypatch.setattr(loop.Attempt, "_go", lambda self, _: setattr(told, "step", self._done))
        monkeypatch.setattr(log, "level", logging.INFO)
        log.addHandler(ear)
        try:
            config = validate(Config, run_values(folder), "drill")
            stage.run(config, stage.plan(config))
        except (ConfigError, FormatError) as refusal:
            told.refused = True
            told.lines.append(str(refusal))
        finally:
            log.removeHandler(ear)
        return told

    return begin


def trial(stopped: Path) -> Path:
    """Return a fresh copy of the folder to damage."""
    folder = stopped.with_name(TRIAL)
    shutil.rmtree(folder, ignore_errors=True)
    return Path(shutil.copytree(stopped, folder))


def files(folder: Path) -> list[str]:
    return sorted(contents(folder))


def assert_told(told: Told, name: str, how: str) -> None:
    """Assert that a fault was told with its file and the remedy, and where bytes differ with both sums."""
    about = told.of(Path(name).name)
    assert about, (how, name, told)
    assert REMEDY.search(about), (how, name, about)
    if name.endswith(BINARY) and how != "missing":
        assert BOTH.search(about), (how, name, about)


def assert_kept(before: dict[str, bytes], folder: Path) -> None:
    """Assert that every file has its bytes still, at its place or where its checkpoint was set aside."""
    after = contents(folder)
    moved = {re.sub(r"damaged-(step-\d+)\.attempt-\d+", r"\1", name): data for name, data in after.items()}
    for name, data in before.items():
        assert moved.get(name) == data, f"{name} was overwritten"


def command(folder: Path, code: int) -> str:
    """Run `loglinear train` on a copy's run; return what it told."""
    path = folder / "train.yaml"
    path.write_text(yaml.safe_dump(run_values(folder)))
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "train", str(path)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    return done.stderr
