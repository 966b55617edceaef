"""One start of a job at a time: a second one finds out, and leaves the first one's folder as it is."""

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from launch.environment import node_name
from launch.launcher import Job
from launch.rank import is_at_work, records

# The ranks of a killed command save their work and end; the next command is not refused because of them.
PATIENCE_SECONDS = 15.0
POLL_SECONDS = 0.2


class AlreadyStarted(Exception):  # noqa: N818 - it is a state of things
    """Another start of the same job is at work; the message names it."""


@contextmanager
def sole_start(job: Job) -> Iterator[None]:
    """Hold a job's folder; AlreadyStarted names the process that has it, if one does.

    Where the same command is run on each node, each holds the folder for itself. The end of this process,
    however it comes, releases it.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    path = job.folder / f"start{f'.{job.node}' if job.node else ''}.lock"
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise AlreadyStarted(_refusal(job, lock.read().strip() or "another process")) from None
        _wait_for_earlier_ranks(job)
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}")
        lock.flush()
        yield


def _wait_for_earlier_ranks(job: Job) -> None:
    """Return once the ranks that an earlier start has left on this node have ended."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        here = [record for record in records(job.folder) if record["node"] == node_name()]
        left = [record for record in here if is_at_work(record)]
        if not left:
            return
        if time.monotonic() > until:
            who = (
                f"rank {left[0]['rank']} of an earlier start, process {left[0]['pid']} on {left[0]['node']},"
            )
            raise AlreadyStarted(_refusal(job, who))
        time.sleep(POLL_SECONDS)


def _refusal(job: Job, who: str) -> str:
    return (
        f"{job.directory}: {who} is at work on this {job.name} already;"
        f" loglinear stop {job.directory} ends it with its work saved"
    )
