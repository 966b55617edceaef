"""Jobs in a cluster's queue, as the command line tells of them, waits for them and stops them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from launch.launcher import Job
from launch.submitted import State, Submitted, in_queue, submitted
from pipeline.errors import ConfigError, StageError
from pipeline.formats.run import Run

TAIL_LINES = 5
TAIL_BYTES = 8192


def told_of(job: Job, number: str) -> str:
    """Return what to tell of a job that was just submitted."""
    after = f", starts after {', '.join(job.after)}" if job.after else ""
    return (
        f"{job.directory}: {job.name} is job {number}{after}; `loglinear status {job.directory}` follows it,"
        f" `loglinear stop {job.directory}` ends it with its work saved; output in {job.log}"
    )


def refuse_second(job: Job) -> None:
    """Raise StageError, with its id, where the same job is in the queue already."""
    with _asked_of_cluster():
        earlier = in_queue(job)
    if earlier:
        raise StageError(
            f"{job.directory}: {job.name} is in the queue already, as job {earlier.id};"
            f" loglinear status {job.directory} tells what it does, loglinear stop {job.directory} ends it"
        )


def waited_for(word: str, dry_run: bool) -> list[str]:
    """Return the ids of the jobs that `--after` names: an id, or the directory that jobs were submitted for.

    Jobs that have ended well are not waited for. ConfigError where a job has failed, or there is none;
    in a dry run, which submits nothing that others could wait for, a name stands for it.
    """
    directory = Path(word)
    if word.replace("_", "").isdigit() and not directory.is_dir():
        return [word]
    jobs = submitted(directory)
    if not jobs and dry_run:
        return [f"JOB-OF-{word}"]
    if not jobs:
        raise ConfigError(
            f"--after {word}: no job was submitted for it; submit that one first, or give an id"
        )
    failed = [job for job in jobs if _state(job) is None and job.poll() not in (0, None)]
    if failed:
        names = ", ".join(f"{job.name} (job {job.id}; its output is in {job.log})" for job in failed)
        raise ConfigError(f"--after {word}: {names} did not end well; submit it again first")
    return [job.id for job in jobs if _state(job) is not None]


def stop(directory: Path) -> str:
    """Ask whatever works on a run, dataset or study to save its work and end; return what to tell.

    A job that still waits in the queue is taken out of it. StageError where there is nothing to ask.
    """
    found = [job for job in submitted(directory) if _state(job) is not None]
    for job in found:
        with _asked_of_cluster():
            job.ask()
    if not found or Run(directory).metrics.is_file():
        Run(directory).request_stop()
    told = [f"{directory}: {job.name} (job {job.id}) is asked to save its work and end" for job in found]
    return "\n".join(told or [f"{directory}: will stop after the step it is at"])


def status_lines(directory: Path) -> list[str]:
    """Return what the jobs submitted for a directory do, with the end of their output; not of those done."""
    lines = []
    for job in submitted(directory):
        words, has_output = _doing(job)
        lines += [f"{job.name}: {job.kind} job {job.id}, {words}"] if words else []
        lines += [f"  {line}" for line in _tail(job.log)] if has_output else []
    return lines


def _doing(job: Submitted) -> tuple[str, bool]:
    """Return what a job does, or nothing where it has ended well; and whether its output tells more."""
    try:
        state = job.state()
    except RuntimeError as fault:
        return f"of which nothing is known here: {fault}", True
    if state:
        return state.words, not state.waits
    code = job.poll()
    if code == 0:
        return "", False
    minutes = (time.time() - job.submitted) / 60
    ended = f"ended with exit code {code}" if code is not None else "gone without a word"
    return f"{ended}; submitted {minutes:.0f} min ago, its output is in {job.log}", True


def _state(job: Submitted) -> State | None:
    with _asked_of_cluster():
        return job.state()


def _tail(path: Path) -> list[str]:
    if not path.is_file():
        return []
    return path.read_bytes()[-TAIL_BYTES:].decode(errors="replace").splitlines()[-TAIL_LINES:]


@contextmanager
def _asked_of_cluster() -> Iterator[None]:
    """Raise as StageError that the queue cannot be asked."""
    try:
        yield
    except RuntimeError as fault:
        raise StageError(str(fault)) from None
