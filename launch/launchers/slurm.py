"""On a Slurm cluster, as a batch job that saves its work before its time is up and queues itself again.

`out`, `data` and this Python must be on file systems that all nodes share. The job outlives the command that
submits it: `loglinear status` tells what it does, `loglinear stop` asks it to save its work and end.
"""

import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from launch.launcher import Job, Submission
from launch.launchers.torchrun import SIGNALS, meeting_variables
from launch.process import LAUNCHER, thread_variables
from launch.rank import clear
from launch.squeue import cancel, sbatch, state
from launch.submitted import ENDED, HALT, Submitted, in_queue, record

__all__ = ["Config", "Slurm", "cancel", "state"]

KIND = "slurm"
SCRIPT = "job.sh"
# Below the ports that kernels give away, and another one for each job: jobs may share a node.
PORT = "$((20000 + SLURM_JOB_ID % 12000))"
_TIME = re.compile(r"^((?P<days>\d+)-)?(?P<rest>\d+(:\d+){0,2})$")
# What the script itself says to sbatch.
OURS = frozenset((
    "job-name", "output", "open-mode", "chdir", "nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task",
    "mem-per-cpu", "partition", "account", "qos", "time", "signal", "requeue", "dependency",
    "kill-on-invalid-dep", "array",
))  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Config:
    """`processes` on each of `nodes`, each with so many `gpus`, `cpus` and, for each CPU, so much memory.

    A stage of one process asks for one process's share of them. `time` is sbatch's. `setup`: lines of shell
    that run on the first node before anything else. `options`: any other options of sbatch, by their long
    names. `warn_seconds` before the time limit the job begins to save; `grace_seconds` are from a signal of
    Slurm's own to the kill: a checkpoint must fit in both. `at_once`: how many jobs of an array run side by
    side. `restarts`: how often the processes start again in place after one has failed.
    """

    nodes: int = 1
    processes: int = 1
    gpus: int = 0
    cpus: int = 1
    memory_per_cpu: str | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time: str = "24:00:00"
    setup: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    threads: int | None = None
    restarts: int = 0
    warn_seconds: int = 300
    grace_seconds: int = 300
    at_once: int | None = None

    def __post_init__(self) -> None:
        least = {"nodes": 1, "processes": 1, "gpus": 0, "cpus": 1, "restarts": 0, "warn_seconds": 1}
        for name, value in {**least, "grace_seconds": 1}.items():
            if getattr(self, name) < value:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least {value}")
        if self.at_once is not None and self.at_once < 1:
            raise ValueError(f"at_once ({self.at_once}) must be at least 1, or null for no limit")
        if seconds(self.time) <= self.warn_seconds:
            raise ValueError(
                f"time ({self.time}) is no longer than warn_seconds ({self.warn_seconds}): the job would stop"
                " as soon as it starts, again and again; give it more time, or a shorter warning"
            )
        if taken := sorted(set(self.options) & OURS):
            raise ValueError(f"options: {', '.join(taken)}: the script says that itself, by this file's keys")

    def build(self) -> "Slurm":
        """Return the launcher."""
        return Slurm(self)


class Slurm:
    """Put jobs into the queue of the cluster that this machine belongs to; `launch.launcher.Queue`."""

    on_each_node = False
    is_detached = True

    def __init__(self, config: Config):
        self._config = config
        self.processes = config.nodes * config.processes

    def script(self, job: Job) -> str:
        """Return the batch script of one job."""
        head = [*self._head(job, f"-{job.name}"), f"#SBATCH --output={_output(_absolute(job.log))}"]
        return "\n".join([*head, *self._body(job), ""])

    def script_of(self, jobs: Sequence[Job]) -> str:
        """Return the batch script of an array of jobs, the output of each where it would be alone."""
        first = jobs[0]
        limit = f"%{self._config.at_once}" if self._config.at_once else ""
        early = _output(_absolute(_array_folder(first)))
        lines = [*self._head(first), f"#SBATCH --array=0-{len(jobs) - 1}{limit}"]
        lines += [f"#SBATCH --output={early}/%A_%a.log", 'case "$SLURM_ARRAY_TASK_ID" in']
        for number, job in enumerate(jobs):
            lines += [f"{number})", f"exec >> {shlex.quote(_absolute(job.log))} 2>&1", *self._body(job), ";;"]
        return "\n".join([*lines, "esac", ""])

    def submit(self, job: Job) -> Submitted:
        """Put a job into the queue; ValueError where Slurm refuses it."""
        _prepare(job)
        return record(job, KIND, _submit(job.folder, self.script(job)))

    def submit_all(self, jobs: Sequence[Job]) -> list[Submission]:
        """Put jobs into the queue as one array; one that is there already is taken as it is."""
        found = {job.name: in_queue(job) for job in jobs}
        for alone in (False, True):  # what the tasks of an array ask for is the same
            fresh = [job for job in jobs if not found[job.name] and job.alone is alone]
            if len(fresh) == 1:
                found[fresh[0].name] = self.submit(fresh[0])
            elif fresh:
                found |= self._submit_array(fresh)
        return [one for job in jobs if (one := found[job.name])]

    def _submit_array(self, jobs: Sequence[Job]) -> dict[str, Submitted]:
        for job in jobs:
            _prepare(job)
        number = _submit(_array_folder(jobs[0]), self.script_of(jobs))
        return {job.name: record(job, KIND, f"{number}_{place}") for place, job in enumerate(jobs)}

    def _head(self, job: Job, name: str = "") -> list[str]:
        """Return what sbatch is asked for, for a job or for an array of jobs that want the same."""
        config = self._config
        nodes, processes = (1, 1) if job.alone else (config.nodes, config.processes)
        asked = {
            "job-name": _name(f"{job.directory.name}{name}"),
            "nodes": nodes,
            "ntasks-per-node": 1,  # torchrun, which starts the processes of its node
            "cpus-per-task": config.cpus * processes,
            "mem-per-cpu": config.memory_per_cpu,
            "gpus-per-node": config.gpus * processes or None,
            "time": config.time,
            "partition": config.partition,
            "account": config.account,
            "qos": config.qos,
            **config.options,
            "signal": f"B:USR1@{config.warn_seconds}",
            "dependency": f"afterok:{':'.join(job.after)}" if job.after else None,
            "chdir": _absolute(Path()),
            "open-mode": "append",
        }
        words = [f"{name}={shlex.quote(str(value))}" for name, value in asked.items() if value is not None]
        words += ["requeue", *(["kill-on-invalid-dep=yes"] if job.after else [])]
        return ["#!/bin/bash", *(f"#SBATCH --{word}" for word in words)]

    def _body(self, job: Job) -> list[str]:
        """Return the shell that becomes the job's own process, which Slurm signals."""
        several = self.processes > 1 and not job.alone
        own = meeting_variables(self._config.nodes, self._config.restarts) if several else {}
        threads = self._config.threads or several  # a process alone takes as many as it finds
        variables = {**(thread_variables(int(threads)) if threads else {}), **own, **job.variables}
        lines = [*self._config.setup, f"unset {LAUNCHER}"]
        lines += [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
        lines.append("# At SIGUSR1 it has the ranks save their work, and queues the job again (scontrol).")
        turn = shlex.join([sys.executable, "-m", "launch.turn"])
        if not several:
            return [*lines, f"exec {turn} {shlex.join(job.command)}"]
        if self._config.nodes > 1:
            lines.append('first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)')
        return [*lines, f"exec {turn} {self._srun(job)}"]

    def _srun(self, job: Job) -> str:
        """Return the command that starts torchrun once on each node; the shell fills in the rest."""
        config = self._config
        srun = ["srun", f"--cpus-per-task={config.cpus * config.processes}", "--kill-on-bad-exit=1"]
        torchrun = [sys.executable, "-m", "torch.distributed.run"]
        torchrun += [
            f"--nnodes={config.nodes}",
            f"--nproc-per-node={config.processes}",
            "--rdzv-backend=c10d",
        ]
        meeting = "--rdzv-conf=store_type=file --local-addr=localhost"
        if config.nodes > 1:
            meeting = f'--rdzv-endpoint="$first:{PORT}" --rdzv-id="$SLURM_JOB_ID"'
        rest = [
            f"--max-restarts={config.restarts}",
            f"--shutdown-timeout={config.grace_seconds}",
            f"--signals-to-handle={SIGNALS}",
        ]
        return (
            f"{shlex.join([*srun, *torchrun])} {meeting} {shlex.join([*rest, '-m', 'pipeline', *job.argv])}"
        )


def seconds(limit: str) -> int:
    """Return how long a time limit is, as sbatch takes it: M, M:S, H:M:S, D-H, D-H:M or D-H:M:S."""
    match = _TIME.match(limit)
    if match is None:
        raise ValueError(f"time ({limit}) must be as sbatch takes it: 90 (minutes), 24:00:00 or 7-00:00:00")
    parts = [int(part) for part in match["rest"].split(":")]
    if match["days"]:
        hours, minutes, rest = [*parts, 0, 0][:3]
        return ((int(match["days"]) * 24 + hours) * 60 + minutes) * 60 + rest
    if len(parts) < 3:
        parts = [0, *parts, *([0] if len(parts) == 1 else [])]
    return (parts[0] * 60 + parts[1]) * 60 + parts[2]


def _prepare(job: Job) -> None:
    """Make the job's folder as it is before a job's first turn."""
    clear(job.folder)
    for name in (HALT, ENDED):
        (job.folder / name).unlink(missing_ok=True)


def _submit(folder: Path, script: str) -> str:
    """Leave a script where people find it, submit it and return the job's id."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SCRIPT).write_text(script)
    return sbatch(folder / SCRIPT)


def _array_folder(job: Job) -> Path:
    """Where an array's script lies, and what its tasks say before they know which job they are."""
    return job.directory / "logs" / "array"


def _name(words: str) -> str:
    return re.sub(r"[^\w.-]", "-", words)


def _absolute(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - `resolve` would read the disk


def _output(path: Path | str) -> str:
    """Quote a path for sbatch, to which % begins a pattern."""
    return shlex.quote(str(path).replace("%", "%%"))
