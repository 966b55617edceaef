"""A process that saves checkpoints of a tiny model by the training loop's own code, for drills to break off.

It is forked from a process that has torch loaded already, so that hundreds of them can be had in a minute.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import LoglinearError
from pipeline.formats.checkpoint import Meta
from pipeline.formats.run import RunWriter, writing
from pipeline.trainer.checkpoints import Keeping, Saver
from pipeline.trainer.engine import Pending
from pipeline.trainer.engines import ddp, single
from pipeline.trainer.state import write_model
from tests.pipeline.trainer import tiny

FIRST, LAST = 2, 3  # the steps saved here; the step before them was saved by an earlier process
REFUSED = 3  # the exit code of a process that told of a fault
PATIENCE_SECONDS = 90.0
PUBLISHING = "publishing"
# The thread that writes weights and training state.
WRITERS: dict[str, Any] = {"writing": Pending}
# What the drill and the process tell each other without a system call.
READY, TRACED, THREAD, TOLD = range(4)
Words = Any  # an array of integers in shared memory


def shared_words() -> Words:
    """Return what a drill and a process tell each other by."""
    return RawArray(ctypes.c_long, 4)


def save(folder: Path, here: tuple[int, int, int], words: Words, part: str) -> None:
    """Save steps FIRST to LAST, keeping one checkpoint, as rank `here[0]` of `here[1]` at port `here[2]`.

    `words` tell that it is READY, wait until it is TRACED, give the number of the THREAD that does the part
    that is to be traced (unless that is `publishing`), and the newest step that was TOLD to be saved.
    """
    torch.set_num_threads(1)
    rank, world_size, port = here
    if world_size > 1:
        _join(rank, world_size, port)
    engine = tiny.build((single if world_size == 1 else ddp).Config(device="cpu", threads=1))
    if part in WRITERS:
        _announce_thread(WRITERS[part], words)
    words[READY] = os.getpid()
    if part == PUBLISHING:
        until(lambda: words[TRACED])
    try:
        if rank:
            _steps(engine, None, words)
        else:
            with writing(folder) as writer:
                _record(writer, words, engine)
    except (OSError, LoglinearError):
        os._exit(REFUSED)
    os._exit(0)


def _record(writer: RunWriter, words: Words, engine: Any) -> None:
    """Do what a run does around its checkpoints too: its configuration, its attempt, its rows."""
    writer.newest_whole()
    writer.write_config("a: 1\n")
    writer.rewind(FIRST - 1)
    writer.begin_attempt({"first_step": FIRST})
    _steps(engine, writer, words)
    writer.end_attempt("finished")
    writer.write_exit("finished", 0)


def _steps(engine: Any, writer: RunWriter | None, words: Words) -> None:
    keeping = Keeping(keep=1, keep_every_steps=None, asynchronous=True)
    track = writer.append if writer else lambda _: None
    saver = Saver(
        engine, writer, keeping, lambda folder, found: write_model(folder, found, tiny.SHAPE, None), track
    )
    for step in range(FIRST, LAST + 1):
        track({"step": step, "loss": float(step)})
        saver.save(meta_of(step, writer.epoch if writer else 0))
        while saver.busy:  # `finish` would not leave the work to the thread
            saver.poll()
        words[TOLD] = step


def meta_of(step: int, epoch: int) -> Meta:
    """Return what a checkpoint of a step says."""
    known = {"engine": "single", "world_size": 1, "config_hash": "c", "data_hash": "d", "epoch": epoch}
    return Meta(step=step, tokens=step * 10, complete=step == LAST, **known)


def _join(rank: int, world_size: int, port: int) -> None:
    variables = {"RANK": rank, "WORLD_SIZE": world_size, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": world_size}
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in {**variables, **address}.items()})
    torch.distributed.init_process_group("gloo", timeout=timedelta(seconds=PATIENCE_SECONDS))


def _announce_thread(kind: Any, words: Words) -> None:
    """Let the first thread that writes a part of a checkpoint wait until it is traced."""
    run = kind._run

    def announced(self: Any, *arguments: Any) -> None:
        if not words[TRACED]:
            words[THREAD] = threading.get_native_id()
            until(lambda: words[TRACED])
        run(self, *arguments)

    kind._run = announced


def until(happens: Callable[[], Any]) -> None:
    """Wait until something happens."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.0005)
