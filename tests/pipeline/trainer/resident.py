"""A process that takes real steps and tells what memory they took; test_memory_measured.py starts it.

python -m tests.pipeline.trainer.resident '{"model": {…}, "sequences": 4, "sequence_tokens": 256, …}'
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import torch

from model.config import GPTConfig
from model.transformer import GPT
from pipeline.trainer.engine import Batch, NextToken
from pipeline.trainer.engines import single
from pipeline.trainer.hardware import keep_freed_memory
from pipeline.trainer.optim import AdamW


def main(
    model: dict,
    sequences: int,
    sequence_tokens: int,
    precision: str = "fp32",
    checkpointing: bool = False,
    micro_batches: int = 1,
    steps: int = 2,
) -> dict[str, float]:
    """Return the most memory that was resident beyond what imports took, in bytes, and each step's loss."""
    keep_freed_memory()
    shape = GPTConfig(**model)
    warm_up()
    before = resident_bytes()
    torch.manual_seed(0)
    config = single.Config(device="cpu", activation_checkpointing=checkpointing)
    engine = config.build(GPT(shape), AdamW(lr=1e-4), NextToken(), precision)
    ids = torch.randint(0, shape.vocab_size, (sequences, sequence_tokens + 1))
    batch = Batch(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())
    losses = [engine.train_step([batch] * micro_batches, lr=1e-4).loss for _ in range(steps)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"bytes": peak - before, "losses": losses}


def warm_up() -> None:
    """Take one step of a tiny model, whose kernels and threads are then there."""
    shape = GPTConfig(n_layer=1, n_head=1, n_embd=8, n_ctx=8, vocab_size=16)
    engine = single.Config(device="cpu").build(GPT(shape), AdamW(lr=1e-4), NextToken(), "fp32")
    ids = torch.zeros(1, 8, dtype=torch.int64)
    engine.train_step([Batch(ids, ids)], lr=1e-4)


def resident_bytes() -> int:
    """Return what of this process is in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(**json.loads(sys.argv[1]))) + "\n")
