"""A training run followed: each of its checkpoints is evaluated as it is published, until the run has ended.

Nothing is asked of the training but the files that it leaves, so this is a process of its own, on another
machine if wanted. What is evaluated is told by the results: a watch that was killed goes on by the same
command.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from launch.environment import rank
from pipeline.errors import LoglinearError
from pipeline.formats import checkpoint as checkpoints
from pipeline.formats.publish import read_json
from pipeline.formats.run import Run
from pipeline.formats.subject import MODEL
from pipeline.trainer.collective import from_first
from pipeline.trainer.stop import STOP_FILE

_log = logging.getLogger("loglinear.evaluate")

POLL_SECONDS = 5.0


def evaluated(directory: Path, patience_seconds: float, evaluate: Callable[[Path], str]) -> str:
    """Evaluate a run's checkpoints in the order of their steps, as they come; return what is told of each.

    Training keeps only its newest checkpoints: one that goes before it is evaluated is named and left out, as
    is a damaged one. Of several processes of a job all go through the same checkpoints.
    """
    told = []
    for checkpoint in _together(directory, patience_seconds):
        try:
            said = evaluate(checkpoint)
        except (LoglinearError, OSError) as fault:
            if checkpoint.is_dir():
                raise
            _log.warning("%s: removed before it was evaluated (%s)", checkpoint, fault)
        else:
            told.append(f"{checkpoint.name}\n{said}")
    return "\n".join(told)


def published(directory: Path, patience_seconds: float) -> Iterator[Path | None]:
    """Yield each checkpoint of a run once, and None every POLL_SECONDS in which there is no new one.

    Ends when all are told of and the run has ended: it is finished, its user stopped it, or nothing was
    written in it for so long. What ended in another way may be on its way to a new start.
    """
    run, seen, begun = Run(directory), set[tuple[str, float]](), time.time()
    while True:
        why = _end(run, begun, patience_seconds)  # before the look: what comes in between is looked at again
        # A step that was gone back to is published again: the same name, another checkpoint.
        fresh = [path for path in run.checkpoints() if (path.name, _published(path)) not in seen]
        for path in fresh:
            seen.add((path.name, _published(path)))
            if _is_whole(path):
                yield path
        if fresh:
            continue
        if why:
            _log.info("%s: %s; the watch ends", directory, why)
            return
        yield None
        time.sleep(POLL_SECONDS)


def _together(directory: Path, patience_seconds: float) -> Iterator[Path]:
    """Yield the checkpoints that rank 0 sees, in every process: they hear of each other at every look."""
    if rank() == 0:
        for path in published(directory, patience_seconds):
            from_first((path, False))
            if path is not None:
                yield path
        from_first((None, True))
        return
    while not (heard := from_first(None))[1]:
        if heard[0] is not None:
            yield heard[0]


def _published(checkpoint: Path) -> float:
    """Return when a checkpoint was published; 0 for one without a meta, or that is gone by now."""
    try:
        return (checkpoint / checkpoints.META).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _is_whole(checkpoint: Path) -> bool:
    try:
        checkpoints.verify(checkpoint, only=f"{MODEL}/")
    except (LoglinearError, OSError) as fault:
        _log.warning("%s: damaged, or removed by now, and not evaluated (%s)", checkpoint, fault)
        return False
    return True


def _end(run: Run, begun: float, patience_seconds: float) -> str:
    """Return why nothing more is to come, or nothing."""
    if run.finished:
        return "finished"
    if run.exit.is_file() and read_json(run.exit).get("because") == STOP_FILE:
        return "stopped by its user"
    changed = [path.stat().st_mtime for path in (run.metrics, run.checkpoint_folder) if path.exists()]
    silent = time.time() - max(changed, default=begun)
    if silent > patience_seconds:
        return f"not finished, but nothing was written for {silent / 60:.0f} minutes"
    return ""
