"""One process of one link of the chain in test_chain.py: go on from a state, take two steps, leave a state.

python -m tests.pipeline.trainer.chain FAMILY CELL STEP FOLDER

with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set. The state after STEP steps is in FOLDER/STEP, but for
the first link, which begins.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from launch.environment import rank, world_size
from tests.pipeline.trainer.cells import cells
from tests.pipeline.trainer.tiny import build, take

STEPS = 2


def go_on(config, step: int, folder: Path) -> None:
    """Take a link's steps and write what was told of them beside the state that it leaves."""
    engine = build(config)
    if step:
        engine.load_state(folder / str(step))
    rows = take(engine, range(step, step + STEPS), rank(), world_size())
    after = folder / str(step + STEPS)
    engine.save_state(after).wait()
    if rank() == 0:
        (after / "rows.json").write_text(json.dumps(rows))


if __name__ == "__main__":
    family, cell, begun, where = sys.argv[1:]
    go_on(cells(family, world_size())[cell], int(begun), Path(where))
    torch.distributed.destroy_process_group()
