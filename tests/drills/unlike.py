"""A dataset in which no window is like another, so that what a step was trained on can be told from it."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.formats.manifest import Manifest
from pipeline.formats.shards import ShardWriter
from pipeline.train.sampler import Order, Windows

TOKENS_OF_A_DOCUMENT = 40


def make(dataset: Path, folder: Path) -> Path:
    """Write one of 28,000 random tokens with the tokenizer of another dataset; return its folder."""
    shutil.copytree(dataset, folder)
    manifest, drawn = Manifest.read(folder), random.Random(0)
    splits = {}
    for split, documents in (("train", 700), ("validation", 10)):
        writer = ShardWriter(folder / "shards" / f"{split}-unlike.ds", manifest.dtype)
        for _ in range(documents):
            ids = [drawn.randrange(manifest.eot_id) for _ in range(TOKENS_OF_A_DOCUMENT - 1)]
            writer.write([*ids, manifest.eot_id])
        splits[split] = (writer.close(),)
    replace(manifest, splits=splits).write(folder)
    return folder


def stream(folder: Path, tokens: int, count: int) -> list[list[int]]:
    """Return the first windows of the stream of a run of seed 0, as inputs of so many tokens."""
    manifest = Manifest.read(folder)
    windows = Windows(folder, manifest, "train", tokens)
    order = Order(windows.count, manifest.hash, tokens, 0)
    found: list[list[int]] = windows.read(order.at(np.arange(count)))[:, :-1].tolist()
    return found
