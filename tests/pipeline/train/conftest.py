"""A dataset of 6,000 tokens and a run on it that takes a fraction of a second."""

from __future__ import annotations

from pathlib import Path

import pytest

from model import tokenizer
from pipeline.config import validate
from pipeline.train.stage import Config
from tests.pipeline.formats.datasets import write_dataset

TEXT = "the cat sat on a mat while dogs ran far over hills and rivers under old grey moons"
WORDS = TEXT.split()


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> Path:
    """Two train shards and a validation one, tokenized by a tokenizer of 300 ids trained on their text."""
    folder = tmp_path_factory.mktemp("dataset")
    texts = [" ".join(WORDS[(i * j + j) % len(WORDS)] for j in range(60)) for i in range(1, 121)]
    trained = tokenizer.train(texts, 300)
    parts = {"train-00000": texts[:60], "train-00001": texts[60:100], "validation-00000": texts[100:]}
    return write_dataset(folder, trained, parts, sums_of_files=True)


@pytest.fixture
def values(dataset, tmp_path) -> dict:
    """The configuration of a run of six steps with dropout, a checkpoint and a validation every two."""
    return {
        "out": str(tmp_path / "run"),
        "data": str(dataset),
        "model": {"n_layer": 1, "n_head": 2, "n_embd": 16, "n_ctx": 16, "vocab_size": 300, "dropout": 0.1},
        "optim": {"lr": 1e-2},
        "schedule": {"warmup_tokens": 128},
        "global_batch_tokens": 64,
        "train_tokens": 6 * 64,
        "micro_batch_sequences": 2,
        "engine": {"kind": "single", "device": "cpu", "threads": 1},
        "validation": {"every_steps": 2, "tokens": 256},
        "checkpoint": {"every_steps": 2, "keep": 5},
        "log_every_steps": 1,
    }


@pytest.fixture
def config(values) -> Config:
    return validate(Config, values, "test")
