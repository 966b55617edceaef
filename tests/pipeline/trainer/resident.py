"""A process that takes real steps and tells what memory they took; test_memory_measured.py starts it.

python -m tests.pipeline.trainer.resident '{"model": {…}, "sequences": 4, "sequence_tokens": 256, …}'
"""

from __future__ import annotations

import json
import resource
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from model.config import GPTConfig
from model.transformer import GPT
from pipeline.trainer.engine import Batch, NextToken
from pipeline.trainer.hardware import keep_freed_memory, peak_memory_bytes
from pipeline.trainer.optim import AdamW


def main(
    model: dict,
    sequences: int,
    sequence_tokens: int,
    precision: str = "fp32",
    checkpointing: bool = False,
    micro_batches: int = 1,
    steps: int = 2,
    kind: str = "single",
    settings: dict | None = None,
) -> dict[str, float]:
    """Return the most memory that was resident beyond what imports took, in bytes, and each step's loss."""
    keep_freed_memory()
    shape = GPTConfig(**model)
    engines = import_module(f"pipeline.trainer.engines.{kind}")
    config = engines.Config(device="cpu", activation_checkpointing=checkpointing, **(settings or {}))
    warm_up(config)
    before = resident_bytes()
    torch.manual_seed(0)
    engine = config.build(GPT(shape), AdamW(lr=1e-4), NextToken(), precision)
    ids = torch.randint(0, shape.vocab_size, (sequences, sequence_tokens + 1))
    batch = Batch(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())
    losses = [engine.train_step([batch] * micro_batches, lr=1e-4).loss for _ in range(steps)]
    peak = peak_memory_bytes(torch.device("cpu"))
    return {"bytes": peak - before, "losses": losses}


def warm_up(config: Any) -> None:
    """Take one step of a tiny model, whose libraries, kernels and threads are then there."""
    shape = GPTConfig(n_layer=1, n_head=1, n_embd=8, n_ctx=8, vocab_size=16)
    engine = config.build(GPT(shape), AdamW(lr=1e-4), NextToken(), "fp32")
    ids = torch.zeros(1, 8, dtype=torch.int64)
    engine.train_step([Batch(ids, ids)], lr=1e-4)


def resident_bytes() -> int:
    """Return what of this process is in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(**json.loads(sys.argv[1]))) + "\n")
