"""A model, batches and faults small enough for every engine test, shared with the ranks that tests start."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from model.config import GPTConfig
from model.transformer import GPT
from pipeline.trainer.engine import Engine, NextToken, Tokens
from pipeline.trainer.optim import AdamW

# 97 ids and 31 positions do not divide among any processes; a head of width 16 suits every attention kernel.
SHAPE = GPTConfig(n_layer=2, n_head=2, n_embd=32, n_ctx=31, vocab_size=97)
# Keys' biases have no gradient but rounding, which a small eps would blow up to whole steps.
OPTIM = AdamW(lr=1e-2, eps=1e-4, grad_clip=1.0)
LR = 1e-2
ROWS = 4


class Faulty(NextToken):
    """The next-token loss, with a fault on demand: `loss` infinite, or `gradient` NaN behind a good loss."""

    fault = ""

    def sums(self, model: nn.Module, batch: Tokens) -> dict[str, Tensor]:
        (loss,) = super().sums(model, batch).values()
        if self.fault == "gradient":
            loss = loss + torch.sqrt(loss * 0)  # 0 forwards; infinity times 0 backwards
        if self.fault == "loss":
            loss = loss + torch.inf
        return {self.name: loss}


def build(config, objective=None, precision: str = "fp32", optim: AdamW = OPTIM, **shape) -> Engine:
    """Return an engine over the one model; `shape` changes fields of its shape, dropout for instance."""
    torch.manual_seed(0)
    engine = config.build(GPT(replace(SHAPE, **shape)), optim, objective or NextToken(), precision)
    torch.manual_seed(1)
    return engine


def batches(
    step: int, rank: int, world_size: int, accumulation: int, documents: bool = False
) -> list[Tokens]:
    """Return one rank's part of a step, with a ragged mask on its targets.

    The second micro-batch has no target at all in its first row, which may be all that a rank has of it.
    """
    generator = torch.Generator().manual_seed(step)
    found = []
    for number in range(accumulation):
        ids = torch.randint(0, SHAPE.vocab_size, (ROWS, SHAPE.n_ctx + 1), generator=generator)
        targets = ids[:, 1:].clone()
        targets[torch.rand(targets.shape, generator=generator) < 0.3] = -100
        if number == 1:
            targets[0] = -100
        starts = torch.rand(targets.shape, generator=generator) < 0.2
        mine = slice(rank, None, world_size)
        found.append(
            Tokens(
                ids[mine, :-1].contiguous(),
                targets[mine].contiguous(),
                starts.cumsum(1)[mine].contiguous() if documents else None,
            )
        )
    return found


def take(
    engine: Engine, steps, rank: int = 0, world_size: int = 1, accumulation: int = 1, documents: bool = False
) -> list[list]:
    """Take steps, each at its own learning rate, and return what was told of each."""
    found = []
    for step in steps:
        parts = batches(step, rank, world_size, accumulation, documents)
        found.append(row(engine.train_step(parts, LR / (1 + step))))
    return found


def row(stats) -> list:
    return [stats.loss, stats.grad_norm, stats.targets, stats.applied]


FAULTS = {2: "gradient", 3: "loss"}
SPIKE = 4
APPLIED = [True, True, False, False, False, True, True]


def take_with_faults(engine: Engine, objective: Faulty, rank: int = 0, world_size: int = 1) -> list[list]:
    """Take seven steps: the last rank alone has a fault in two of them, one more is above its limit."""
    found = []
    for step in range(len(APPLIED)):
        objective.fault = FAULTS.get(step, "") if rank == world_size - 1 else ""
        limit = 1e-3 if step == SPIKE else math.inf
        found.append(row(engine.train_step(batches(step, rank, world_size, 1), LR, limit)))
    return found
