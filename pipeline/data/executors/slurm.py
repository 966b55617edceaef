"""Slurm job arrays, one array task for each task; `out` must be on a file system that all nodes share.

datatrove's executor writes the job script and submits it. What it leaves out is here: to wait, to end what a
killed command left in the queue, and to tell why a task died that could not tell itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from datatrove.executor.slurm import SlurmPipelineExecutor

from pipeline.config import Schema, execution
from pipeline.data.executor import SILENT, Attempt, Fault, Tasks, silence_datatrove
from pipeline.errors import StageError

POLL_SECONDS = 5.0
ARRAY = 1001  # Slurm's own default of the most tasks in one array

log = logging.getLogger("loglinear.data")


class Config(Schema):
    """What sbatch is asked for; `workers` is how many tasks of the array run at a time."""

    partition: str = execution()
    time: str = execution("24:00:00", description="limit of one task, as sbatch takes it")
    cpus_per_task: int = execution(1, ge=1)
    mem_per_cpu_gb: int = execution(2, ge=1)
    qos: str | None = execution(None)
    sbatch_args: dict[str, str] = execution(
        {}, description="further options: account: NAME is --account=NAME"
    )
    env_command: str | None = execution(
        None,
        description="makes this Python the node's, as `source .venv/bin/activate`; empty: its bin in PATH",
    )

    def run(self, tasks: Tasks, workers: int | None) -> None:
        """Submit the incomplete ranks and wait until none is in the queue; an interrupt cancels them."""
        silence_datatrove()
        ranks = tasks.incomplete()
        logs = tasks.directory / "slurm"
        logs.mkdir(parents=True, exist_ok=True)
        job = job_name(tasks.directory)
        arrays = Arrays(
            pipeline=[Attempt(tasks)],
            tasks=tasks.number,
            logging_dir=str(tasks.directory),
            job_name=job,
            workers=workers or -1,
            time=self.time,
            partition=self.partition,
            cpus_per_task=self.cpus_per_task,
            mem_per_cpu_gb=self.mem_per_cpu_gb,
            qos=self.qos,
            sbatch_args=self.sbatch_args,
            env_command=self.env_command
            or f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH",
            max_array_size=ARRAY,
            slurm_logs_folder=tempfile.mkdtemp(prefix=time.strftime("%Y%m%d-%H%M%S-"), dir=logs),
        )
        try:
            _submit(arrays, tasks.name)
            wait_for(job)
        except BaseException:
            with contextlib.suppress(StageError):  # the first error is the one to tell
                _cancel(job)
            raise
        _note_the_silent(tasks, ranks, Path(arrays.slurm_logs_folder))

    def settle(self, directory: Path) -> None:
        """Cancel the jobs that are still in the queue for these tasks, and wait until they have ended."""
        job = job_name(directory)
        if _queued(job):
            log.info("cancelling the Slurm jobs %s that an earlier command left in the queue", job)
            _cancel(job)
            wait_for(job)


class Arrays(SlurmPipelineExecutor):  # type: ignore[misc]
    """datatrove's executor without its last job, which would wait for ever behind a failed task."""

    def launch_merge_stats(self) -> None:
        """Submit nothing: the tasks' accounts are ours."""


def job_name(directory: Path) -> str:
    """Return what the jobs of a tasks' directory are called, and nothing else in the queue is."""
    digest = hashlib.blake2b(str(directory.absolute()).encode(), digest_size=6).hexdigest()
    phase = re.match(r"\w*", directory.parent.name)
    return f"loglinear-{phase[0] if phase else ''}-{digest}"


def wait_for(job: str) -> None:
    """Return once no task of these jobs waits or runs; a controller that does not answer is asked again."""
    while True:
        try:
            if not _queued(job):
                return
        except StageError as fault:
            log.warning("%s; asking again", fault)
        time.sleep(POLL_SECONDS)


def _submit(arrays: Arrays, name: str) -> None:
    try:
        arrays.run()
    except FileNotFoundError:
        raise StageError(
            f"{name}: no sbatch here; start the command on a login node of the cluster"
        ) from None
    except subprocess.CalledProcessError as fault:
        raise StageError(
            f"{name}: sbatch refused the job with exit code {fault.returncode} and the words above"
        ) from None


def _queued(job: str) -> list[str]:
    return _slurm("squeue", "--me", "--noheader", f"--name={job}", "--format=%i %T").split("\n")[:-1]


def _cancel(job: str) -> None:
    _slurm("scancel", "--me", f"--name={job}")


def _slurm(*command: str) -> str:
    """Return what a command of Slurm's says; StageError if it fails."""
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError:
        raise StageError(f"no {command[0]} here; start the command on a login node of the cluster") from None
    except subprocess.CalledProcessError as fault:
        raise StageError(f"{' '.join(command)}: {fault.stderr.strip()}") from None


def _note_the_silent(tasks: Tasks, ranks: Sequence[int], logs: Path) -> None:
    """Note what Slurm's own log says last of the ranks that failed without a word of their own."""
    failed = set(tasks.incomplete())
    for place, rank in enumerate(ranks):
        if rank in failed and tasks.fault(rank) == SILENT:
            tasks.note(rank, _last_words(logs, place))


def _last_words(logs: Path, place: int) -> Fault:
    """Return what stands at the end of the log of an array's task; later arrays have higher job ids."""
    array, index = divmod(place, ARRAY)
    found = sorted(logs.glob(f"*_{index}.out"), key=lambda path: int(path.name.partition("_")[0]))
    with contextlib.suppress(IndexError, OSError):
        lines = found[array].read_text(errors="replace").strip().split("\n")
        said = next((line for line in reversed(lines) if "error" in line), lines[-1])
        return Fault(told=f"{said} ({found[array]})")
    return SILENT
