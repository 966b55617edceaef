"""Run the tasks of a phase: the only file that knows datatrove's executors.

datatrove runs a pipeline (a list of steps) once per task; a task is one input file, so their number follows
from the inputs and never from the workers. What we add: processes start from one warmed-up server, a failed
or killed task disturbs no other and is tried again, errors keep their type, and the console stays quiet.
"""

from __future__ import annotations

import errno
import functools
import io
import multiprocessing
import pickle
import sys
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any, Literal

from launch.environment import available_cpus
from pipeline.config import Schema, execution
from pipeline.errors import LoglinearError, StageError
from pipeline.log import progress

Step = Callable[[Any, int, int], Any]

# Imported once in the server that workers are forked from, so that a worker starts in milliseconds.
PRELOADED = (
    "datatrove.executor.local",
    "pipeline.data.rule",
    "pipeline.data.extract",
    "pipeline.data.dedup",
    "pipeline.data.decontaminate",
    "pipeline.data.tokenize",
)
POLL_SECONDS = 0.2


class ExecuteConfig(Schema):
    """Where the tasks of a phase run; none of it changes what they produce."""

    executor: Literal["local"] = execution("local", description="datatrove executor")
    workers: int | None = execution(None, ge=1, description="tasks at a time; empty: one for each core")
    retries: int = execution(1, ge=0, description="further attempts for tasks that failed")


def run_tasks(steps: Sequence[Step], tasks: int, directory: Path, config: ExecuteConfig, name: str) -> None:
    """Run the steps for ranks 0 to tasks - 1; ranks that `directory` records as complete are not run again.

    `directory` must belong to this configuration of the phase: datatrove's completion marks do not know it.
    Raises StageError with the log's path after the last attempt; our own errors pass through as they are.
    """
    if tasks == 0:
        return
    for attempt in range(config.retries + 1):
        try:
            with _progress_of(directory, tasks, name):
                _attempt(steps, tasks, directory, config)
            return
        except LoglinearError:
            raise
        except OSError as fault:
            if fault.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StageError(disk_full(name, directory)) from None
            _give_up(fault, attempt, config, directory, name)
        except Exception as fault:
            _give_up(fault, attempt, config, directory, name)


def disk_full(name: str, directory: Path) -> str:
    """Return the message for a file system without room."""
    return (
        f"{name}: no space left on the disk of {directory}; finished phases and tasks are whole: "
        f"make room and run the same command again"
    )


def _give_up(fault: Exception, attempt: int, config: ExecuteConfig, directory: Path, name: str) -> None:
    """Return for another attempt, or raise after the last one."""
    if attempt == config.retries:
        logs = directory / "logs"
        raise StageError(
            f"{name}: {type(fault).__name__}: {fault} ({attempt + 1} attempts, logs in {logs}); "
            f"finished tasks are kept: mend the cause and run the same command again"
        ) from fault


def _attempt(steps: Sequence[Step], tasks: int, directory: Path, config: ExecuteConfig) -> None:
    """Run every incomplete rank once; all of them get their turn before the first failure is raised."""
    ranks = _executor(steps, tasks, directory).get_incomplete_ranks()
    pickled = pickle.dumps(list(steps))
    workers = min(config.workers or available_cpus(), len(ranks))
    if workers <= 1:
        outcomes = [_outcome(functools.partial(run_rank, pickled, tasks, directory, rank)) for rank in ranks]
    else:
        outcomes = _in_processes(pickled, tasks, directory, ranks, workers)
    for fault in filter(None, outcomes):
        raise fault


def _in_processes(
    pickled: bytes, tasks: int, directory: Path, ranks: Sequence[int], workers: int
) -> list[Exception | None]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    # Not datatrove's own pool: that one ends all ranks when one fails, and waits for ever for a worker that
    # was killed.
    with _nameless_program(), ProcessPoolExecutor(workers, mp_context=context) as pool:
        futures = [pool.submit(run_rank, pickled, tasks, directory, rank) for rank in ranks]
        return [_outcome(future.result) for future in futures]


def _outcome(call: Callable[[], object]) -> Exception | None:
    try:
        call()
    except Exception as fault:
        return fault
    return None


def run_rank(pickled_steps: bytes, tasks: int, directory: Path, rank: int) -> None:
    """Run one task in this process, with a copy of the steps of its own; its log goes to `directory/logs`."""
    with redirect_stderr(Silence()):
        _executor(pickle.loads(pickled_steps), tasks, directory)._run_for_rank(rank)


def _executor(steps: Sequence[Step], tasks: int, directory: Path) -> Any:
    from datatrove.executor.local import LocalPipelineExecutor

    return LocalPipelineExecutor(pipeline=list(steps), tasks=tasks, logging_dir=str(directory))


class Silence(io.TextIOBase):
    """A console that shows nothing; unlike /dev/null it need not be closed, and loguru holds on to it."""

    def write(self, text: str) -> int:
        """Take the text and forget it."""
        return len(text)


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


@contextmanager
def _progress_of(directory: Path, tasks: int, name: str) -> Iterator[None]:
    """Show how many tasks are complete while they run elsewhere."""
    ended = threading.Event()
    completions = directory / "completions"

    def watch() -> None:
        with progress(name, total=tasks, unit="tasks") as shown:
            seen = 0
            while True:
                last = ended.wait(POLL_SECONDS)
                found = len(list(completions.iterdir())) if completions.is_dir() else 0
                shown.advance(found - seen)
                seen = found
                if last:
                    return

    watcher = threading.Thread(target=watch, name=f"progress of {name}", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
