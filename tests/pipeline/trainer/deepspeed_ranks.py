"""One process of the group that test_deepspeed.py starts: what only ZeRO has, results as JSON.

python -m tests.pipeline.trainer.deepspeed_ranks FOLDER    with RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT set
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from launch.environment import rank, world_size
from pipeline.trainer.engines import deepspeed
from tests.pipeline.trainer.cells import HERE
from tests.pipeline.trainer.ranks import keep_weights
from tests.pipeline.trainer.tiny import Faulty, build, take, take_with_faults

deepspeed.PERSISTENT_ELEMENTS = 0
deepspeed.BUCKET_ELEMENTS = 4000


def main(folder: Path) -> None:
    here = (rank(), world_size())
    found: dict = {}
    for stage in (1, 2, 3):
        found[f"offload {stage}"] = offloaded(
            deepspeed.Config(zero_stage=stage, offload=True, **HERE), folder, here
        )
        overlapping = deepspeed.Config(zero_stage=stage, overlap_communication=True, **HERE)
        found[f"overlap {stage}"] = take(build(overlapping), range(4), *here, 3)
    for stage in (1, 3):
        config = deepspeed.Config(zero_stage=stage, **HERE)
        found[f"bf16 {stage}"] = [take_within_autocast(config, here, device) for device in ("", "cuda")]
    found["bf16 resumed"] = halves_and_whole_in_bf16(folder / "bf16", here)
    if rank() == 0:
        (folder / "found.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


def offloaded(config, folder: Path, here: tuple[int, int]) -> dict:
    engine = build(config)
    found: dict = {"steps": take(engine, range(4), *here, 3)}
    keep_weights(engine, folder / f"weights-offload {config.zero_stage}")
    objective = Faulty()
    found["faults"] = take_with_faults(build(config, objective), objective, *here)
    engine = build(config)
    engine.load_state(folder / "single")
    found["resumed"] = take(engine, [2, 3], *here)
    engine.save_state(folder / f"offload {config.zero_stage}").wait()
    return found


def halves_and_whole_in_bf16(folder: Path, here: tuple[int, int]) -> list:
    """Return four steps of ZeRO 3, which gathers rounded copies, and the same with a new engine midway."""
    config = deepspeed.Config(zero_stage=3, **HERE)
    whole = take(build(config, precision="bf16"), range(4), *here)
    first, second = (build(config, precision="bf16") for _ in range(2))
    halves = take(first, range(2), *here)
    first.save_state(folder).wait()
    torch.distributed.barrier()
    second.load_state(folder)
    return [whole, halves + take(second, range(2, 4), *here)]


def take_within_autocast(config, here: tuple[int, int], device: str) -> list[list]:
    """Take a bf16 step while torch believes that autocast is on for a device; the model lives on the CPU."""
    if device:
        torch.set_autocast_enabled(device, True)
    rows = take(build(config, precision="bf16"), [0], *here)
    if device:
        torch.set_autocast_enabled(device, False)
    return rows


if __name__ == "__main__":
    main(Path(sys.argv[1]))
