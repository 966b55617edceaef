"""One process of the group that test_numbers.py starts: runs with bad numbers in their steps.

python -m tests.drills.numbers_rank FOLDER      with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set

FOLDER/trials.json lists the runs: configuration, fault, and the windows that have it. What this rank decided
of each step goes to FOLDER/decided-RANK.json.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from launch.environment import rank
from pipeline.config import validate
from pipeline.train import loop, objective, stage
from pipeline.trainer.engine import NextToken, Tokens
from pipeline.trainer.steps import steps

FAULTS: dict[str, Callable[[Tensor], Tensor]] = {
    "NaN in the loss": lambda loss: loss * torch.nan,
    "infinity in the loss": lambda loss: loss + torch.inf,
    "NaN in the gradients alone": lambda loss: loss + torch.sqrt(loss * 0),  # 0 forwards; inf · 0 backwards
    "a gradient norm beyond fp32": lambda loss: loss * 1e36,
}


def faulty(fault: str, windows: list[tuple[int, ...]]) -> type[NextToken]:
    """Return the next-token objective with a fault where a batch holds one of the windows."""

    class Faulty(NextToken):
        def sums(self, model: nn.Module, batch: Tokens) -> dict[str, Tensor]:
            (loss,) = super().sums(model, batch).values()
            held = {tuple(row) for row in batch.inputs.tolist()}
            hit = torch.is_grad_enabled() and held & set(windows)
            return {self.name: FAULTS[fault](loss) if hit else loss}

    return Faulty


def decided(values: dict, fault: str, windows: list[list[int]]) -> list[list]:
    """Train, and return what was decided of each step: whether it was applied, loss, norm."""
    told: list[list] = []

    def telling(*arguments, **settings) -> Iterator:
        for step in steps(*arguments, **settings):
            stats = step.stats
            told.append([step.number, stats.applied, stats.loss.hex(), stats.grad_norm.hex()])
            yield step

    objective.NextToken = faulty(fault, [tuple(window) for window in windows])
    loop.steps = telling
    config = validate(stage.Config, values, "a drill")
    stage.run(config, stage.plan(config))
    return told


if __name__ == "__main__":
    torch.distributed.destroy_process_group = lambda: None  # one group for all the runs
    folder = Path(sys.argv[1])
    found = [decided(**trial) for trial in json.loads((folder / "trials.json").read_text())]
    (folder / f"decided-{rank()}.json").write_text(json.dumps(found))
