"""Processes of this machine, one for each task."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import types
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from launch.environment import available_cpus
from launch.process import end_with
from pipeline.config import Schema
from pipeline.data.executor import Attempt, Fault, Silence, Tasks

# Imported once in the server that tasks are forked from, so that each starts in milliseconds.
PRELOADED = (
    "datatrove.executor.local",
    "pipeline.data.crawl.share",
    "pipeline.data.extract",
    "pipeline.data.read",
    "pipeline.data.rule",
    "pipeline.data.dedup",
    "pipeline.data.decontaminate",
    "pipeline.data.tokenize",
    "pipeline.data.wikipedia",
)


class Config(Schema):
    """Nothing to be said: `workers` is the number of tasks at a time, one for each core if it is empty.

    Not datatrove's own pool, which ends all ranks when one fails and waits for ever for a worker that was
    killed; a rank itself runs as datatrove runs it.
    """

    def run(self, tasks: Tasks, workers: int | None) -> None:
        """Run the incomplete ranks; one worker works in this process."""
        if workers == 1:
            for rank in tasks.incomplete():
                with contextlib.suppress(Exception):  # the fault is noted
                    run_rank(tasks, rank)
        else:
            server = multiprocessing.get_context("forkserver")
            server.set_forkserver_preload(list(PRELOADED))
            in_processes(server, tasks, tasks.incomplete(), workers or available_cpus())

    def settle(self, directory: Path) -> None:
        """Do nothing: these processes end with the command that started them."""


def in_processes(context: Any, tasks: Tasks, ranks: Sequence[int], workers: int) -> None:
    """Run each rank in a process of its own, `workers` at a time, and note which were killed.

    `context` is multiprocessing's, and decides how processes start.
    """
    waiting = deque(ranks)
    running: dict[Any, tuple[BaseProcess, int]] = {}  # by sentinel
    with _nameless_program():
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    rank = waiting.popleft()
                    process = context.Process(target=_child, args=(tasks, rank, os.getpid()))
                    process.start()
                    running[process.sentinel] = process, rank
                for sentinel in wait(list(running)):
                    _end(tasks, *running.pop(sentinel))
        finally:
            for process, _ in running.values():
                process.terminate()


def run_rank(tasks: Tasks, rank: int) -> None:
    """Run one task in this process as datatrove does, its log going to the tasks' directory."""
    from datatrove.executor.local import LocalPipelineExecutor

    with redirect_stderr(Silence()):
        executor = LocalPipelineExecutor(
            pipeline=[Attempt(tasks)], tasks=tasks.number, logging_dir=str(tasks.directory)
        )
        executor._run_for_rank(rank)


def _child(tasks: Tasks, rank: int, parent: int) -> None:
    end_with(parent)
    with contextlib.suppress(Exception):
        run_rank(tasks, rank)


def _end(tasks: Tasks, process: BaseProcess, rank: int) -> None:
    process.join()
    if process.exitcode and process.exitcode < 0:
        name = signal.Signals(-process.exitcode).name
        tasks.note(rank, Fault(told=f"killed by {name}, as the kernel does when memory runs out"))
    process.close()


@contextmanager
def _nameless_program() -> Iterator[None]:
    """Keep started processes from importing the current program again: they need our modules, not pytest's
    main.
    """
    program = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = program
