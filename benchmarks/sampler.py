"""Sampler and loader alone, on one core: windows in the order of training, as batches that an engine takes.

    python -m benchmarks.sampler [--tokens N] [--rounds N] [--out FILE.json]

A dataset of shards is written for it; it is in the page cache. Tokens are targets; the clock is the
process's own. A step has 512 sequences of 1,024 tokens.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import torch

from benchmarks.training.machine import machine
from benchmarks.training.turns import take_turns
from model.config import GPTConfig
from pipeline.formats.manifest import Manifest
from pipeline.formats.shards import ShardWriter
from pipeline.train.batches import Batches, text_form
from pipeline.train.plan import make_plan
from pipeline.train.sampler import Order, Windows
from pipeline.trainer.hardware import keep_freed_memory

SEQUENCE_TOKENS, SEQUENCES_PER_STEP = 1024, 512
MICRO_BATCHES = (16, 64, 512)
SHARDS, VOCABULARY, EOT = 4, 50257, 50256
GOAL = 25e6
LEAST_SECONDS = 0.5


def main() -> None:
    """Measure each micro-batch, print a line for each and write them as JSON if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=100_000_000, help="tokens of the dataset")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        manifest = write(Path(folder), chosen.tokens)
        rows = measure(Path(folder), manifest, chosen.rounds)
    if chosen.out:
        chosen.out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=2) + "\n")


def measure(dataset: Path, manifest: Manifest, rounds: int) -> list[dict[str, object]]:
    """Return tokens per second by micro-batch; every step is one that was not read before."""
    readers = {str(size): reader(dataset, manifest, size) for size in MICRO_BATCHES}
    seconds = take_turns(readers, rounds, "process", LEAST_SECONDS)
    rows: list[dict[str, object]] = []
    for size, taken in seconds.items():
        speed = SEQUENCE_TOKENS * SEQUENCES_PER_STEP / statistics.median(taken)
        rows.append({"micro_batch_sequences": int(size), "tokens_per_second": speed, "goal": GOAL})
        told = "met" if speed >= GOAL else "MISSED"
        print(
            f"micro-batch {size:>4}: {speed / 1e6:7.1f} M tokens/s, goal {GOAL / 1e6:.0f}: {told}", flush=True
        )
    return rows


def reader(dataset: Path, manifest: Manifest, micro_batch_sequences: int) -> Callable[[], object]:
    """Return what reads the next step each time."""
    windows = Windows(dataset, manifest, "train", SEQUENCE_TOKENS)
    plan = make_plan(
        model=GPTConfig(n_layer=1, n_head=1, n_embd=1),
        global_batch_tokens=SEQUENCES_PER_STEP * SEQUENCE_TOKENS,
        train_tokens=1,
        sequence_tokens=SEQUENCE_TOKENS,
        warmup_tokens=0,
        micro_batch_sequences=micro_batch_sequences,
        world_size=1,
        dataset_tokens=None,
        config_hash="",
        data_hash=None,
    )
    order = Order(windows.count, manifest.hash, SEQUENCE_TOKENS, seed=0)
    batches, steps = Batches(windows, order, plan, rank=0, form=text_form(), pinned=False), count()
    return lambda: batches.step(next(steps))


def write(dataset: Path, tokens: int) -> Manifest:
    """Write shards of random documents and return their manifest."""
    random = np.random.default_rng(0)
    (dataset / "shards").mkdir()
    shards = []
    for number in range(SHARDS):
        writer = ShardWriter(dataset / "shards" / f"{number}.ds", "uint16")
        ids = random.integers(0, EOT, tokens // SHARDS, dtype=np.uint16)
        ids[-1] = EOT
        writer.write(ids)
        shards.append(writer.close())
    return Manifest(
        tokenizer="random",
        tokenizer_fingerprint="random",
        vocab_size=VOCABULARY,
        dtype="uint16",
        eot_id=EOT,
        splits={"train": tuple(shards)},
        text_bytes={},
    )


if __name__ == "__main__":
    main()
