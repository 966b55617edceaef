"""`--on LAUNCH.yaml`: the same command as a job somewhere else, or the tasks of a dataset there."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from launch.launcher import Job, Launcher, Submission
from pipeline.composition import Composed, compose
from pipeline.config import Kind, Schema, dump, execution, validated
from pipeline.errors import StageError, Stopped
from pipeline.formats.publish import write_text

POLL_SECONDS = 0.5


class _Choice(Schema):
    launcher: Annotated[Any, Kind("launch.launchers")] = execution()


def launcher_from(path: Path) -> Launcher:
    """Return the launcher that a file of configs/launch/ describes; ConfigError names its faults."""
    composed = compose(path)
    places = {("launcher", *where): place for where, place in composed.places.items()}
    choice = validated(_Choice, Composed({"launcher": composed.value}, {(): f"{path}:1", **places}))
    launcher: Launcher = choice.launcher.build()
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
    """Run a stage through a launcher and return what to tell; with `dry_run`, the job's script."""
    launcher = launcher_from(on)
    file = Path(config.out) / "logs" / f"{verb}.yaml"
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    job = Job(name=verb, argv=(verb, str(file), *words), directory=Path(config.out))
    if dry_run:
        return launcher.script(job)
    write_text(file, dump(config))
    start = job.log.stat().st_size if job.log.exists() else 0
    submission = launcher.submit(job)
    try:
        code = _follow(submission, job.log, start)
    except KeyboardInterrupt:
        submission.stop()
        raise
    if code == Stopped.exit_code:
        raise Stopped(f"{config.out}: stopped with a checkpoint saved; the same command goes on")
    if code:
        raise StageError(f"{verb} ended with exit code {code}; its output is in {job.log}")
    return f"{config.out}: done, output in {job.log}"


def _follow(submission: Submission, log: Path, start: int) -> int:
    """Copy a job's output to stderr until it ends, and return its exit code."""
    with log.open("rb") as output:
        output.seek(start)
        while True:
            code = submission.poll()
            sys.stderr.write(output.read().decode(errors="replace"))
            if code is not None:
                return code
            time.sleep(POLL_SECONDS)
