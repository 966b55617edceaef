"""One process of the group that test_engines.py starts: every cell of the ZeRO matrix, results as JSON.

python -m tests.pipeline.trainer.ranks FOLDER      with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from launch.environment import rank, world_size
from pipeline.trainer.engines import deepspeed
from tests.pipeline.trainer.tiny import Faulty, batches, build, take, take_with_faults


def main(folder: Path) -> None:
    here = (rank(), world_size())
    found: dict = {"group": world_size()}
    for stage in range(4):
        config = deepspeed.Config(zero_stage=stage, device="cpu", threads=1)
        for accumulation in (1, 3):
            found[f"{stage}/{accumulation}"] = take(build(config), range(4), *here, accumulation)
        objective = Faulty()
        found[f"{stage}/faults"] = take_with_faults(build(config, objective), objective, *here)
        engine = build(config)
        engine.load_state(folder / "single")
        found[f"{stage}/resumed"] = take(engine, [2, 3], *here)
        engine.save_state(folder / f"zero-{stage}").wait()
        (loss,) = engine.loss(batches(9, *here, 1)[0]).values()
        found[f"{stage}/validation"] = [loss.sum, loss.count]
        found[f"{stage}/bitwise"] = halves_equal_whole(config, folder / f"halves-{stage}", here)
    found["bf16"] = take(
        build(deepspeed.Config(zero_stage=2, device="cpu"), precision="bf16"), range(4), *here
    )
    if rank() == 0:
        (folder / "found.json").write_text(json.dumps(found))
    engine.close()


def halves_equal_whole(config: deepspeed.Config, folder: Path, here: tuple[int, int]) -> list:
    """Return six steps with dropout, and the same with a save and a new engine in the middle."""
    whole = take(build(config, dropout=0.1), range(6), *here)
    first = build(config, dropout=0.1)
    halves = take(first, range(3), *here)
    first.save_state(folder).wait()
    second = build(config, dropout=0.1)
    second.load_state(folder)
    return [whole, halves + take(second, range(3, 6), *here)]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
