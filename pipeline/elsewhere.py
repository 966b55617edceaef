"""`--on LAUNCH.yaml`: the same command as a job somewhere else, or the tasks of a dataset there."""

from __future__ import annotations

import codecs
import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from launch.environment import node_name
from launch.launcher import Followed, Job, Launcher
from launch.outcome import Failure, end_of_output, outcome
from pipeline.composition import Composed, compose
from pipeline.config import Kind, Schema, dump, execution, validated
from pipeline.errors import ConfigError, StageError, Stopped
from pipeline.formats.publish import write_text

POLL_SECONDS = 0.2
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
TAIL_LINES = 20
OF_SEVERAL = ("train",)  # the stages whose processes share their work

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


def send(verb: str, config: Any, options: Mapping[str, str], on: Path, dry_run: bool) -> str:
    """Run a stage through a launcher and return what to tell; with `dry_run`, the job's script.

    Its output, of several processes that of rank 0, is shown as it comes. A signal asks the job to save a
    checkpoint and end, a second one ends this command at once, and the job with it. Raises Stopped, or
    JobError with the error of the process that failed first.
    """
    launcher = launcher_from(on)
    if launcher.processes > 1 and verb not in OF_SEVERAL:
        raise ConfigError(f"{on}: starts {launcher.processes} processes, and {verb} is one; use kind: local")
    node = node_name() if launcher.on_each_node else ""
    file = Path(config.out) / "logs" / f"{verb}{f'.{node}' if node else ''}.yaml"
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    job = Job(name=verb, argv=(verb, str(file), *words), directory=Path(config.out), node=node)
    if dry_run:
        return launcher.script(job)
    write_text(file, dump(config))
    launched = _Output(job.log)
    with _asked() as asked:
        with _faults_told():
            submission = launcher.submit(job)
        if submission.output != job.log:
            _log.info("output of rank 0 follows when all have met; the launcher's is in %s", job.log)
        code = _follow(submission, job, asked)
    code, failure = outcome(job.folder, code, node, asked.is_set())
    if code == Stopped.exit_code:
        raise Stopped(f"{config.out}: stopped, with what was done saved; the same command goes on")
    if failure:
        raise JobError(_tell(verb, failure, submission.output), failure.exit_code)
    if code:
        if submission.output != job.log:
            sys.stderr.write(launched.tail())
        raise JobError(f"{verb} ended with exit code {code}; its output is in {job.log}", max(code, 1))
    return f"{config.out}: done, output in {submission.output}"


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

    def tail(self) -> str:
        """Return the last lines of what has not been read yet."""
        return "".join(self.text(self.size()).splitlines(keepends=True)[-TAIL_LINES:])


def _follow(submission: Followed, job: Job, asked: threading.Event) -> int:
    """Copy a job's output to stderr until it ends, but for the words of a failing rank 0; return its code."""
    output = _Output(submission.output)
    passed_on = False
    while True:
        code = submission.poll()
        if asked.is_set() and not passed_on:
            passed_on = True
            _log.info("asking the job to save a checkpoint and end; a second signal ends it at once")
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


@contextmanager
def _faults_told() -> Iterator[None]:
    """Raise what a launcher finds wrong as ConfigError."""
    try:
        yield
    except ValueError as fault:
        raise ConfigError(str(fault).splitlines()) from None


@contextmanager
def _asked() -> Iterator[threading.Event]:
    """Yield what the first signal sets; the second does what it does without us."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def ask(*_: object) -> None:
        asked.set()
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in SIGNALS:
        signal.signal(number, ask)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
