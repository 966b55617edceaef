"""One process of a group that test_elastic.py starts: a run up to a step, there stopped or killed.

python -m tests.drills.elastic_rank CONFIG FOLDER END STEP     with RANK, WORLD_SIZE and where they meet set

END is `finish`, `stop` (the last rank is sent a signal after STEP) or `kill` (all are gone after STEP). Which
windows this rank was trained on, step by step, goes to FOLDER/windows-RANK.jsonl.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from launch.environment import rank, world_size
from pipeline.config import load
from pipeline.errors import Stopped
from pipeline.train import loop, stage
from pipeline.trainer.collective import wait_for_all
from pipeline.trainer.engine import NO_TARGET, Engine, Tokens
from pipeline.trainer.steps import steps


def watched(folder: Path, end: str, last: int) -> Callable[..., Iterator]:
    """Return the loop's own steps, which note what they take and end in the way that was asked for."""
    file = folder / f"windows-{rank()}.jsonl"

    def watching(engine: Engine, batches: Callable[[int], Sequence[Tokens]], *rest, **settings) -> Iterator:
        taken: dict[int, list] = {}

        def noting(index: int) -> Sequence[Tokens]:
            found = batches(index)
            taken[index + 1] = [row for batch in found for row in rows_with_targets(batch)]
            return found

        with file.open("a") as lines:
            for step in steps(engine, noting, *rest, **settings):
                lines.write(json.dumps([step.number, taken.pop(step.number)]) + "\n")
                lines.flush()
                if step.number == last:
                    leave(end)
                yield step

    return watching


def rows_with_targets(batch: Tokens) -> list[list[int]]:
    wanted = (batch.targets != NO_TARGET).any(dim=1)
    found: list[list[int]] = batch.inputs[wanted].tolist()
    return found


def leave(end: str) -> None:
    if end == "stop" and rank() == world_size() - 1:
        os.kill(os.getpid(), signal.SIGUSR1)
    if end == "kill":
        try:
            wait_for_all()
        finally:
            os._exit(0)  # at once, as a kill would, with a checkpoint half written perhaps


if __name__ == "__main__":
    config = load(stage.Config, Path(sys.argv[1]))
    loop.steps = watched(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    try:
        stage.run(config, stage.plan(config))
    except Stopped:
        assert sys.argv[3] == "stop"
