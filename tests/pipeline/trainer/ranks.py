"""One process of the group that a test starts: every cell of a family of engines, results as JSON.

python -m tests.pipeline.trainer.ranks FAMILY FOLDER      with RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT set

Every cell gives the same keys, and writes under FOLDER/CELL: `state`, and `weights-KEY` for some of the keys.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from launch.environment import rank, world_size
from pipeline.trainer import ddp
from pipeline.trainer.engines import deepspeed
from tests.pipeline.trainer.cells import cells
from tests.pipeline.trainer.tiny import Faulty, batches, build, take, take_with_faults

Here = tuple[int, int]


# Else ZeRO 3 would leave so small a model whole on every process, and all of it would fit one bucket.
ddp.BUCKET_BYTES = 16_000
deepspeed.PERSISTENT_ELEMENTS = 0
deepspeed.BUCKET_ELEMENTS = 4000


def main(family: str, folder: Path) -> None:
    here = (rank(), world_size())
    found: dict = {}
    for cell, config in cells(family, world_size()).items():
        (folder / cell).mkdir(exist_ok=True)
        found[cell] = steps_equal_to_single(config, folder / cell, here)
        if family != "compiled":
            found[cell] |= state_moves(config, folder, cell, here)
        if family not in ("compiled", "offload"):
            found[cell] |= variants(config, here)
    if rank() == 0:
        (folder / "found.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


def steps_equal_to_single(config, folder: Path, here: Here) -> dict:
    found: dict = {}
    for accumulation in (1, 3):
        engine = build(config)
        found[f"accumulation {accumulation}"] = take(engine, range(4), *here, accumulation)
        keep_weights(engine, folder / f"weights-accumulation {accumulation}")
    objective = Faulty()
    engine = build(config, objective)
    found["faults"] = take_with_faults(engine, objective, *here)
    keep_weights(engine, folder / "weights-faults")
    return found


def state_moves(config, folder: Path, cell: str, here: Here) -> dict:
    """Go on from the state of `single`, leave one for it, and go on from one of the engine's own."""
    engine = build(config)
    (unseen,) = batches(9, *here, 1)
    engine.loss(unseen)  # weights gathered for a validation must be those of later steps in none of them
    engine.load_state(folder / "single")
    found: dict = {"resumed": take(engine, [2], *here)}
    engine.loss(unseen)
    found["resumed"] += take(engine, [3], *here)
    engine.save_state(folder / cell / "state").wait()
    (loss,) = engine.loss(unseen).values()
    found["validation"] = [loss.sum, loss.count]
    found["logits"] = float(engine.predict(batches(9, 0, 1, 1)[0]).double().pow(2).sum())
    found["bitwise"] = halves_equal_whole(config, folder / cell / "halves", here)
    return found


def variants(config, here: Here) -> dict:
    recomputing = config.model_copy(update={"activation_checkpointing": True})
    return {
        "bf16": take(build(config, precision="bf16"), range(4), *here, 3),
        "recomputing": take(build(recomputing), range(3), *here),
        "documents": take(build(config), range(3), *here, documents=True),
        "gpt1": take(build(config, architecture="gpt1"), range(3), *here, 3),
    }


def halves_equal_whole(config, folder: Path, here: Here) -> list:
    """Return six steps with dropout, and the same with a save and a new engine in the middle.

    The first engine goes on while its state is written, which must not change what is written.
    """
    whole = take(build(config, dropout=0.1), range(6), *here)
    first = build(config, dropout=0.1)
    halves = take(first, range(3), *here)
    pending = first.save_state(folder)
    take(first, range(3, 5), *here)
    pending.wait()
    torch.distributed.barrier()
    second = build(config, dropout=0.1)
    second.load_state(folder)
    return [whole, halves + take(second, range(3, 6), *here)]


def keep_weights(engine, file: Path) -> None:
    weights = engine.weights()
    if weights is not None:
        torch.save(weights, file)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
