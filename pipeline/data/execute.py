"""Run the tasks of a phase wherever its configuration says, wait for them, try again what failed, and report.

A task is one input file (or a slice of one), so the same tasks run on a laptop and on a cluster. A command
that was killed goes on from the ranks that are complete; what it left at work elsewhere is ended first.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pipeline.config import Kind, Schema, dump, execution, load
from pipeline.data.executor import Executor, Fault, Step, Tasks
from pipeline.data.executors import local
from pipeline.errors import StageError
from pipeline.formats.publish import write_json, write_text
from pipeline.log import progress

__all__ = ["ExecuteConfig", "Step", "disk_full", "run_tasks", "take_over"]

NOTE = "execute.yaml"
POLL_SECONDS = 0.2
MOST_TOLD = 10

log = logging.getLogger("loglinear.data")


class ExecuteConfig(Schema):
    """Where the tasks of a phase run; none of it changes what they produce."""

    executor: Annotated[Any, Kind("pipeline.data.executors")] = execution(local.Config())
    workers: int | None = execution(
        None, ge=1, description="tasks at a time; empty: one for each core, or all that the cluster takes"
    )
    retries: int = execution(1, ge=0, description="further attempts for tasks that failed")


def run_tasks(steps: Sequence[Step], tasks: int, directory: Path, config: ExecuteConfig, name: str) -> None:
    """Run the steps for ranks 0 to tasks - 1; ranks that `directory` records as complete are not run again.

    `directory` must belong to this configuration of the phase: datatrove's completion marks do not know it.
    Raises StageError with the logs' paths after the last attempt; our own errors pass through as they are.
    """
    if tasks == 0:
        return
    work = Tasks.of(steps, tasks, directory, name)
    take_over(directory)
    write_text(directory / NOTE, dump(config))
    write_json(directory / "tasks.json", {"tasks": tasks})  # for reports of a build that runs
    executor: Executor = config.executor
    for attempt in range(1, config.retries + 2):
        ranks = work.incomplete()
        if not ranks:
            return
        for rank in ranks:
            work.forget(rank)
        with _progress_of(work):
            executor.run(work, config.workers)
        faults = {rank: work.fault(rank) for rank in work.incomplete()}
        _raise_what_stays(faults, work)
        if faults and attempt <= config.retries:
            log.warning("%s, trying again:\n%s", _number(faults, work), _told(faults, work))
    if faults:
        raise StageError(
            f"{_number(faults, work)} in each of {attempt} attempts; finished tasks are kept: mend the cause "
            f"and run the same command again\n{_told(faults, work)}"
        )


def take_over(folder: Path) -> None:
    """End what a killed command left at work, on a cluster, on the tasks of this folder or of one below."""
    for note in sorted(folder.rglob(NOTE)):
        load(ExecuteConfig, note).executor.settle(note.parent)


def disk_full(name: str, directory: Path) -> str:
    """Return the message for a file system without room."""
    return (
        f"{name}: no space left on the disk of {directory}; finished phases and tasks are whole: "
        f"make room and run the same command again"
    )


def _raise_what_stays(faults: Mapping[int, Fault], work: Tasks) -> None:
    """Raise what another attempt would meet again: an error of ours, a full disk."""
    for fault in faults.values():
        if ours := fault.ours():
            raise ours
        if fault.is_full_disk:
            raise StageError(disk_full(work.name, work.directory))


def _number(faults: Mapping[int, Fault], work: Tasks) -> str:
    return f"{work.name}: {len(faults):,} of {work.number:,} tasks failed"


def _told(faults: Mapping[int, Fault], work: Tasks) -> str:
    """Return a line for each failed rank, up to a number: why, and where its log is."""
    lines = [
        f"  task {rank}: {fault.told} (log {work.log(rank)})"
        for rank, fault in list(faults.items())[:MOST_TOLD]
    ]
    more = len(faults) - len(lines)
    return "\n".join([*lines, f"  and {more:,} more in {work.directory / 'logs'}"] if more else lines)


@contextmanager
def _progress_of(work: Tasks) -> Iterator[None]:
    """Show how many tasks are complete while they run elsewhere."""
    ended = threading.Event()

    def watch() -> None:
        seen = work.number - len(work.incomplete())
        with progress(work.name, work.number, "tasks", seen) as shown:
            while True:
                last = ended.wait(POLL_SECONDS)
                found = work.number - len(work.incomplete())
                shown.advance(found - seen)
                seen = found
                if last:
                    return

    watcher = threading.Thread(target=watch, name=f"progress of {work.name}", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
