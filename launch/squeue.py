"""Slurm's own commands: a job into the queue, what it does there, out of it, and back into it."""

import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from launch.submitted import State

ANSWER_SECONDS = 60.0
WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"})
_FIELDS = "--format=%i|%T|%M|%R"
_seen: tuple[float, dict[str, State]] = (-float("inf"), {})
SEEN_SECONDS = 2.0  # many jobs of one command ask at the same time, and the controller serves a whole cluster


def sbatch(script: Path) -> str:
    """Submit a batch script and return the job's id; ValueError with the words of sbatch if it is refused."""
    try:
        said = _run("sbatch", "--parsable", str(script))
    except RuntimeError as fault:
        raise ValueError(str(fault)) from None
    _forget()
    return said.strip().partition(";")[0]


def state(job: str) -> State | None:
    """Return what a job (JOB, or JOB_TASK of an array) does; None once it is not in the queue any more.

    RuntimeError where the queue cannot be asked.
    """
    global _seen
    if time.monotonic() - _seen[0] > SEEN_SECONDS:
        lines = _run("squeue", "--me", "--noheader", "--array", _FIELDS).splitlines()
        _seen = (time.monotonic(), dict(map(_state, lines)))
    return _seen[1].get(job)


def cancel(job: str) -> None:
    """Take a job out of the queue, and end it if it runs; RuntimeError where Slurm does not."""
    _run("scancel", job)
    _forget()


def requeue(job: str) -> None:
    """Put a running job back into the queue, which ends it here; RuntimeError where Slurm does not."""
    _forget()
    _run("scontrol", "requeue", job)


def is_ending(job: str) -> bool:
    """Tell whether Slurm itself has begun to end a running job, be it for good or to queue it again.

    So it is after a cancel, a preemption without grace and at the time limit; to queue the job again then
    would bring back what somebody has cancelled.
    """
    try:
        found = state(job)
    except RuntimeError:
        return False
    return found is None or not found.words.startswith("RUNNING")


def own_id(environment: Mapping[str, str] = os.environ) -> str:
    """Return the id of the job that this process belongs to, as `state` takes it."""
    array = environment.get("SLURM_ARRAY_JOB_ID")
    task = environment.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array else environment["SLURM_JOB_ID"]


def _state(line: str) -> tuple[str, State]:
    job, word, elapsed, where = line.split("|", 3)
    waits = word in WAITING
    told = f"{word} {where}" if waits else f"{word} for {elapsed} on {where}"
    return job, State(waits=waits, words=told)


def _forget() -> None:
    """Let the next question go to the controller: what was seen has changed."""
    global _seen
    _seen = (-float("inf"), {})


def _run(*command: str) -> str:
    """Return what a command of Slurm's says; RuntimeError if it fails."""
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=ANSWER_SECONDS)
    except FileNotFoundError:
        raise RuntimeError(
            f"no {command[0]} here; start the command on a login node of the cluster"
        ) from None
    except subprocess.TimeoutExpired:
        raise RuntimeError(
            f"{command[0]}: no answer within {ANSWER_SECONDS:.0f} s; is slurmctld up?"
        ) from None
    except subprocess.CalledProcessError as fault:
        raise RuntimeError(f"{' '.join(command)}: {fault.stderr.strip()}") from None
    return done.stdout
