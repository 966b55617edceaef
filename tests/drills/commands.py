"""The command line called in this process, and a dataset and a run small enough for every drill."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from model import tokenizer
from pipeline import cli
from tests.pipeline.formats.datasets import write_dataset

TEXT = "the cat sat on a mat while dogs ran far over hills and rivers under old grey moons"
WORDS = TEXT.split()


@dataclass(frozen=True)
class Ended:
    """How a command ended, and all that it said."""

    code: int
    said: str


def command(*words: str | Path) -> Ended:
    """Run `loglinear WORDS` here; an exception that the command line does not know comes through."""
    said = io.StringIO()
    argv, root = sys.argv, logging.getLogger("loglinear")
    before = root.handlers[:], root.level, root.propagate
    sys.argv = ["loglinear", *map(str, words)]
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            cli.main()
    except SystemExit as end:
        assert isinstance(end.code, int)
        return Ended(end.code, said.getvalue())
    finally:
        sys.argv = argv
        root.handlers[:], root.level, root.propagate = before
    raise AssertionError("a command ends with an exit code")


def write_yaml(path: Path, values: Mapping[str, Any]) -> Path:
    """Write a configuration."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(dict(values)))
    return path


def make_dataset(folder: Path) -> Path:
    """Write a dataset of some 6,000 tokens with a tokenizer of 300 ids."""
    texts = [" ".join(WORDS[(i * j + j) % len(WORDS)] for j in range(60)) for i in range(1, 121)]
    trained = tokenizer.train(texts, 300)
    return write_dataset(folder, trained, {"train-00000": texts[:100], "validation-00000": texts[100:]})


def run_values(data: Path, out: Path) -> dict[str, Any]:
    """Return the configuration of a run of four steps, a checkpoint every two."""
    return {
        "out": str(out),
        "data": str(data),
        "model": {"n_layer": 1, "n_head": 2, "n_embd": 16, "n_ctx": 16, "vocab_size": 300},
        "optim": {"lr": 1e-2},
        "schedule": {"warmup_tokens": 64},
        "global_batch_tokens": 64,
        "train_tokens": 4 * 64,
        "engine": {"kind": "single", "device": "cpu", "threads": 1},
        "validation": {"every_steps": 2, "tokens": 128},
        "checkpoint": {"every_steps": 2},
        "log_every_steps": 1,
    }


def make_run(data: Path, out: Path) -> Path:
    """Train that run to its end."""
    values = run_values(data, out)
    ended = command("train", write_yaml(out.with_name(f"{out.name}.yaml"), values))
    assert ended.code == 0, ended.said
    return out
