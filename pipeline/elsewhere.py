"""`--on LAUNCH.yaml`: the same command as a job somewhere else, or the tasks of a dataset there."""

from __future__ import annotations

import codecs
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from launch.code import Code
from launch.environment import node_name
from launch.launcher import Followed, Job, Launcher, Queue
from launch.outcome import Failure, end_of_output, outcome, told_by_launcher
from launch.sole import AlreadyStarted, sole_start
from launch.stopping import Held
from pipeline.composition import Composed, compose
from pipeline.config import Kind, Schema, dump, execution, validated
from pipeline.errors import ConfigError, StageError, Stopped
from pipeline.formats.checkpoint import FOLDER as CHECKPOINTS
from pipeline.formats.publish import write_text
from pipeline.formats.run import Run
from pipeline.queued import refuse_second, told_of, waited_for

POLL_SECONDS = 0.2
TAIL_LINES = 20
OF_SEVERAL = ("train", "evaluate", "finetune")  # the stages whose processes share their work

_log = logging.getLogger("loglinear.launch")


class JobError(StageError):
    """A job ended without success; the exit code is that of its first failure."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


class _Choice(Schema):
    launcher: Annotated[Any, Kind("launch.launchers")] = execution()


def launcher_from(path: Path) -> Launcher:
    """Return the launcher that a file of configs/launch/ describes; ConfigError names its faults."""
    composed = compose(path)
    places = {("launcher", *where): place for where, place in composed.places.items()}
    choice = validated(_Choice, Composed({"launcher": composed.value}, {(): f"{path}:1", **places}))
    with _faults_told():
        launcher: Launcher = choice.launcher.build()  # reads the files that it names
    return launcher


def with_tasks_there(config: Any, on: Path) -> tuple[Any, Path | None]:
    """Return a data configuration whose tasks run as a file with an `executor` says, and None: the command
    itself stays here and waits for them. Any other file is returned with the configuration as it is.
    """
    composed = compose(on)
    if "executor" not in composed.value:
        return config, on
    from pipeline.data.execute import ExecuteConfig

    return config.model_copy(update={"execute": validated(ExecuteConfig, composed)}), None


def with_jobs_there(
    verb: str, config: Any, on: Path, after: Sequence[str]
) -> tuple[Any, Path | None, dict[str, Any]]:
    """Return what a command runs with that may stay here and lead jobs there; it stays if no file is left.

    That is the data stage with a file that has an `executor`, and a study with a cluster's queue.
    """
    options: dict[str, Any] = {}
    left: Path | None = on
    if verb == "data":
        config, left = with_tasks_there(config, on)
    elif isinstance(launcher := launcher_from(on), Queue):
        left, options = None, {"queue": launcher}
    if left is None and after:
        raise ConfigError(f"--after: with {on} this command itself stays here; start it when those are done")
    return config, left, options


def send(
    verb: str, config: Any, options: Mapping[str, str], on: Path, dry_run: bool, after: Sequence[str] = ()
) -> str:
    """Run a stage through a launcher and return what to tell; with `dry_run`, the job's script.

    Its output, of several processes that of rank 0, is shown as it comes. A signal, or the run's stop file,
    asks the job to save a checkpoint and end; a second signal ends this command alone. Raises Stopped, or
    JobError with the error of the process that failed first. Where a cluster has a queue, the job is
    submitted, no more; it starts once the jobs in `after` have ended well, each an id or the directory that
    it works on.
    """
    launcher = launcher_from(on)
    alone = verb not in OF_SEVERAL
    if alone and launcher.processes > 1 and not launcher.is_detached:
        raise ConfigError(f"{on}: starts {launcher.processes} processes, and {verb} is one; use kind: local")
    if after and not isinstance(launcher, Queue):
        raise ConfigError(f"--after: {on} has no queue in which a job waits for others; use kind: slurm")
    node, directory = node_name() if launcher.on_each_node else "", _directory(config)
    file = directory / "logs" / f"{verb}{f'.{node}' if node else ''}.yaml"
    argv = (verb, str(file), *(word for name, value in options.items() for word in (f"--{name}", value)))
    waited = tuple(number for word in after for number in waited_for(word, dry_run))
    code = Code.here()
    variables = code.variables(directory)
    job = Job(
        name=verb, argv=argv, directory=directory, environment=variables, node=node, alone=alone, after=waited
    )
    if dry_run:
        return launcher.script(job)
    refuse_second(job)
    with _sole_start(job):
        code.pack(directory)
        write_text(file, dump(config))
        if launcher.is_detached:
            with _faults_told():
                return told_of(job, launcher.submit(job).id)
        return _see_through(launcher, job)


def run_there(launcher: Launcher, job: Job) -> None:
    """Run a job that is no stage's, with the code as it is here, and wait for it; JobError as with `send`."""
    code = Code.here()
    job = replace(job, environment={**code.variables(job.directory), **job.environment})
    with _sole_start(job):
        code.pack(job.directory)
        if not launcher.is_detached:
            _see_through(launcher, job)
            return
        with _faults_told():
            submission = launcher.submit(job)
        _log.info("waits for job %s; its output is in %s", submission.id, job.log)
        if ended := submission.wait():
            raise JobError(f"{job.name} ended with exit code {ended}; its output is in {job.log}", ended)


def _see_through(launcher: Launcher, job: Job) -> str:
    """Run a job as a child of this process and return what to tell of its end."""
    launched = _Output(job.log)
    with Held() as held:

        def asked() -> bool:
            return bool(held.asked) or (job.name == "train" and Run(job.directory).stop_requested(held.since))

        with _faults_told():
            submission = launcher.submit(job)
        assert isinstance(submission, Followed), "a detached job is not seen through"
        if submission.output != job.log:
            _log.info("output of rank 0 follows when all have met; the launcher's is in %s", job.log)
        code = _follow(submission, job, asked)
    code, failure = outcome(job.folder, code, job.node, asked())
    if code == Stopped.exit_code:
        raise Stopped(f"{job.directory}: stopped, with what was done saved; the same command goes on")
    if failure:
        raise JobError(_tell(job.name, failure, submission.output), failure.exit_code)
    if code:
        said = launched.text(launched.size()) if submission.output != job.log else ""
        cause = told_by_launcher(said)
        if not cause:
            sys.stderr.write("".join(said.splitlines(keepends=True)[-TAIL_LINES:]))
        ended = f"{job.name} ended with exit code {code}; its output is in {job.log}"
        raise JobError(f"{cause}\n{ended}" if cause else ended, max(code, 1))
    return f"{job.directory}: done, output in {submission.output}"


class _Output:
    """What is added to a file from now on; it may not be there yet."""

    def __init__(self, path: Path):
        self._path = path
        self._read = path.stat().st_size if path.exists() else 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def size(self) -> int:
        """Return how long the file is."""
        return self._path.stat().st_size if self._path.exists() else 0

    def text(self, until: int) -> str:
        """Return what has not been read yet of the file's first `until` bytes."""
        if until <= self._read:
            return ""
        with self._path.open("rb") as file:
            file.seek(self._read)
            data = file.read(until - self._read)
        self._read += len(data)
        return self._decoder.decode(data)


def _follow(submission: Followed, job: Job, asked: Callable[[], bool]) -> int:
    """Copy a job's output to stderr until it ends, but for the words of a failing rank 0; return its code."""
    output = _Output(submission.output)
    passed_on = False
    while True:
        code = submission.poll()
        if not passed_on and asked():
            passed_on = True
            _log.info("asking the job to save a checkpoint and end; a second signal does not wait for it")
            submission.ask()
        # A rank notes that it has failed before it says so: in this order nothing of it slips through.
        size, end = output.size(), end_of_output(job.folder, rank=0)
        sys.stderr.write(output.text(size if end is None else min(size, end)))
        sys.stderr.flush()
        if code is not None:
            return code
        time.sleep(POLL_SECONDS)


def _tell(verb: str, failure: Failure, output: Path) -> str:
    """Return the error of the rank that failed first, who it is, and where the rest is."""
    log = failure.log or output
    told = log.read_bytes()[failure.log_bytes :] if failure.log_bytes is not None else b""
    lines = told.decode(errors="replace").splitlines()[-TAIL_LINES:]
    error = "\n".join(lines).strip() or failure.message
    if failure.world_size == 1:
        return f"{error}\n{verb} ended with exit code {failure.exit_code}; its output is in {log}"
    who = f"rank {failure.rank} of {failure.world_size} on {failure.node}"
    return f"{error}\n{verb}: {who} failed first (exit code {failure.exit_code}); its output is in {log}"


def _directory(config: Any) -> Path:
    """Return the directory that a stage works on, for its logs; an evaluation's is by default the run."""
    if config.out is not None:
        return Path(config.out)
    checkpoint = Path(config.watch or config.checkpoint)
    return checkpoint.parents[1] if checkpoint.parent.name == CHECKPOINTS else checkpoint


@contextmanager
def _sole_start(job: Job) -> Iterator[None]:
    """Raise StageError where another start of the job is at work."""
    with ExitStack() as stack:
        try:
            stack.enter_context(sole_start(job))
        except AlreadyStarted as refusal:
            raise StageError(str(refusal)) from None
        yield


@contextmanager
def _faults_told() -> Iterator[None]:
    """Raise what a launcher finds wrong as ConfigError."""
    try:
        yield
    except ValueError as fault:
        raise ConfigError(str(fault).splitlines()) from None
