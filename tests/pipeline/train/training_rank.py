"""One process of a job that test_ranks.py starts.

python -m tests.pipeline.train.training_rank CONFIG slow SECONDS     train; the weights are written slowly
python -m tests.pipeline.train.training_rank CONFIG faults FOLDER    a healthy run; one whose rank 1 cannot
        write step 6, then is asked to stop while it does, and that is left in peace at last
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
from pathlib import Path

from launch.environment import rank
from pipeline.cli import main as command
from pipeline.config import load
from pipeline.errors import LoglinearError
from pipeline.train import objective, stage
from pipeline.trainer import state


def slow(config: str, seconds: float) -> None:
    write_model = objective.write_model

    def slowly(*arguments):
        time.sleep(seconds)
        return write_model(*arguments)

    objective.write_model = slowly
    sys.argv[1:] = ["train", config]
    command()


def faults(path: Path, folder: Path) -> None:
    config = load(stage.Config, path)
    train(config.model_copy(update={"out": folder / "healthy"}))
    told = []
    write = state.write_shard
    for fault in (fails, asks_to_stop):
        state.write_shard = at_step_6_on_rank_1(fault, write)
        try:
            train(config)
        except LoglinearError as failure:
            told.append([type(failure).__name__, str(failure)])
        told[-1].append(sorted(found.name for found in (config.out / "checkpoints").iterdir()))
    state.write_shard = write
    (folder / f"told-{rank()}.json").write_text(json.dumps(told))
    train(config)


def train(config: stage.Config) -> None:
    stage.run(config, stage.plan(config))


def fails() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def asks_to_stop() -> None:
    os.kill(os.getpid(), signal.SIGUSR1)


def at_step_6_on_rank_1(fault, write):
    """Return a `write_shard` with a fault on rank 1: in the checkpoint of step 6, whoever writes it."""

    def faulty(path, *arguments):
        if rank() == 1 and "step-00000006" in str(path):
            fault()
        return write(path, *arguments)

    return faulty


if __name__ == "__main__":
    how = sys.argv[2]
    if how == "slow":
        slow(sys.argv[1], float(sys.argv[3]))
    else:
        faults(Path(sys.argv[1]), Path(sys.argv[3]))
