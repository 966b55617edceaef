"""A model, batches and faults small enough for every engine test, shared with the ranks that tests start."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.config import GPTConfig
from model.transformer import GPT
from pipeline.trainer.engine import Batch, Engine, NextToken
from pipeline.trainer.optim import AdamW

SHAPE = GPTConfig(n_layer=2, n_head=2, n_embd=32, n_ctx=16, vocab_size=97)
OPTIM = AdamW(lr=1e-2, grad_clip=1.0)
LR = 1e-2
ROWS = 4


class Faulty(NextToken):
    """The next-token loss, with a fault on demand: `loss` infinite, or `gradient` NaN behind a good loss."""

    fault = ""

    def sums(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        (loss,) = super().sums(model, batch).values()
        if self.fault == "gradient":
            loss = loss + torch.sqrt(loss * 0)  # 0 forwards; infinity times 0 backwards
        if self.fault == "loss":
            loss = loss + torch.inf
        return {self.name: loss}


def build(
    config, objective=None, precision: str = "fp32", dropout: float = 0.0, optim: AdamW = OPTIM
) -> Engine:
    torch.manual_seed(0)
    shape = GPTConfig(**{**vars(SHAPE), "dropout": dropout})
    engine = config.build(GPT(shape), optim, objective or NextToken(), precision)
    torch.manual_seed(1)
    return engine


def batches(step: int, rank: int, world_size: int, accumulation: int) -> list[Batch]:
    """Return one rank's part of a step, with a ragged mask on its targets."""
    generator = torch.Generator().manual_seed(step)
    found = []
    for _ in range(accumulation):
        ids = torch.randint(0, SHAPE.vocab_size, (ROWS, SHAPE.n_ctx + 1), generator=generator)
        targets = ids[:, 1:].clone()
        targets[torch.rand(targets.shape, generator=generator) < 0.3] = -100
        found.append(Batch(ids[rank::world_size, :-1].contiguous(), targets[rank::world_size].contiguous()))
    return found


def take(engine: Engine, steps, rank: int = 0, world_size: int = 1, accumulation: int = 1) -> list[list]:
    stats = [engine.train_step(batches(step, rank, world_size, accumulation), LR) for step in steps]
    return [[stat.loss, stat.grad_norm, stat.targets, stat.applied] for stat in stats]


FAULTS = {2: "gradient", 3: "loss"}


def take_with_faults(engine: Engine, objective: Faulty, rank: int = 0, world_size: int = 1) -> list[list]:
    """Take six steps; the last rank alone has a fault in two of them."""
    found = []
    for step in range(6):
        objective.fault = FAULTS.get(step, "") if rank == world_size - 1 else ""
        found += take(engine, [step], rank, world_size)
    return found
