"""A process that takes real steps and tells what memory it took; test_memory_measured.py starts them.

python -m tests.pipeline.trainer.resident FOLDER '{"model": {…}, "sequences": 4, "sequence_tokens": 256, …}'

The answer is FOLDER/RANK.json.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from pathlib import Path

import torch

import pipeline.train.loop  # noqa: F401 - what a training process has imported
from launch.environment import rank
from model.config import GPTConfig
from model.transformer import GPT
from pipeline.trainer.engine import NextToken, Tokens
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
    """Return the most memory of this process that was resident, in bytes, and each step's loss."""
    shape = GPTConfig(**model)
    engines = import_module(f"pipeline.trainer.engines.{kind}")
    config = engines.Config(device="cpu", activation_checkpointing=checkpointing, **(settings or {}))
    keep_freed_memory(thrifty=config.thrifty)
    torch.manual_seed(0)
    engine = config.build(GPT(shape), AdamW(lr=1e-4), NextToken(), precision)
    ids = torch.randint(0, shape.vocab_size, (sequences, sequence_tokens + 1))
    batch = Tokens(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())
    losses = [engine.train_step([batch] * micro_batches, lr=1e-4).loss for _ in range(steps)]
    return {"bytes": peak_memory_bytes(torch.device("cpu")), "losses": losses}


if __name__ == "__main__":
    found = main(**json.loads(sys.argv[2]))
    Path(sys.argv[1], f"{rank()}.json").write_text(json.dumps(found))
    os._exit(0)  # DeepSpeed's end takes longer than its steps
