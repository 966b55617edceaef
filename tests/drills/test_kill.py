"""kill -9 of one rank and of all, at any moment of a run: it ends bitwise where it would have."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

import pytest

from pipeline.formats.run import Run
from tests.drills.conftest import Drill
from tests.drills.jobs import (
    SAVED_EVERY,
    STEPS,
    VALIDATED_EVERY,
    Command,
    Job,
    ended,
    hold,
    many_small_steps,
    wait_for,
)

SHARE_AT_START = 0.3
LONGEST_PART_SECONDS = 0.05  # of what may follow a step: a validation, the copies and fsyncs of a checkpoint


@dataclass(frozen=True)
class Whole:
    """A run that nobody disturbed, and how long it took to the first step."""

    run: Run
    start_seconds: float


@pytest.fixture(scope="module")
def undisturbed(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Whole]:
    """Return a run that nobody disturbs, made once for each engine."""

    @cache
    def made(engine: str, processes: int) -> Whole:
        job = Job(tmp_path_factory.mktemp("whole") / engine, many_small_steps(dataset), engine, processes)
        begun, command = time.monotonic(), job.start()
        wait_for(command, job.run.rows)
        seconds = time.monotonic() - begun
        code, told = ended(command)
        assert code == 0, told[-3000:]
        return Whole(job.run, seconds)

    return made


@pytest.mark.parametrize(
    ("engine", "processes", "victim"),
    [
        ("single", 1, "all"),
        pytest.param("single", 1, "one rank", marks=pytest.mark.slow),
        pytest.param("fsdp2", 2, "all", marks=pytest.mark.slow),
        pytest.param("fsdp2", 2, "one rank", marks=pytest.mark.slow),
        pytest.param("ZeRO-2", 2, "all", marks=pytest.mark.slow),
        pytest.param("ZeRO-2", 2, "one rank", marks=pytest.mark.slow),
    ],
)
def test_a_run_killed_at_any_moments_ends_bitwise_where_it_would_have(
    drill: Drill, undisturbed, dataset: Path, tmp_path: Path, engine: str, processes: int, victim: str
) -> None:
    words = f"kill -9 of {victim}, {engine} on {processes}"
    drill.promise("R2", words)
    whole = undisturbed(engine, processes)
    jobs = (Job(tmp_path / str(n), many_small_steps(dataset), engine, processes) for n in count())
    places = Counter[str]()

    def disturb(job: Job) -> bool:
        place = killed(drill, job, whole, victim)
        places[place] += bool(place)
        return bool(place)

    hold(drill, jobs, whole.run, disturb)
    drill.promise("R2", f"{words}: {', '.join(f'{n} in {place}' for place, n in sorted((+places).items()))}")


def killed(drill: Drill, job: Job, whole: Whole, victim: str) -> str:
    """Start a run and kill it at a random moment; return amid what, or nothing where it came to its end."""
    attempts, command = len(job.run.attempts()), job.start()
    place = ""
    if came(drill, job.run, whole, attempts, command):
        place = place_of(job.run, attempts)
        if victim == "all":
            job.kill_all()
        else:
            job.kill_rank(command, drill.random.randrange(job.processes))
    code, told = ended(command)
    if job.run.finished:
        return ""
    assert place and code not in (0, 75), told[-3000:]
    return place


def came(drill: Drill, run: Run, whole: Whole, attempts: int, command: Command) -> bool:
    """Wait for a moment of the start-up, or just after one of the steps that are left.

    A third of those steps are any, a third are validated after, and a third saved.
    """
    if drill.random.random() < SHARE_AT_START:
        until = time.monotonic() + drill.random.uniform(0, whole.start_seconds)
        return wait_for(command, lambda: time.monotonic() >= until)
    checkpoints = run.checkpoints()
    done = int(checkpoints[-1].name.removeprefix("step-")) if checkpoints else 0
    every = drill.random.choice([1, VALIDATED_EVERY, SAVED_EVERY])
    step = drill.random.choice([step for step in range(done + 1, STEPS + 1) if step % every == 0] or [STEPS])
    seconds = drill.random.uniform(0, LONGEST_PART_SECONDS)
    has_come = wait_for(command, lambda: len(run.attempts()) > attempts and last_step(run) >= step)
    time.sleep(seconds)
    return has_come


def place_of(run: Run, attempts: int) -> str:
    """Return what a run is doing, as its directory shows it."""
    if len(run.attempts()) == attempts:
        return "start-up"
    if any(path.name.startswith(".step-") for path in run.checkpoint_folder.glob(".*")):
        return "saving"
    rows = run.rows()
    validates = rows and "lr" in rows[-1] and rows[-1]["step"] % VALIDATED_EVERY == 0
    return "validation" if validates else "steps"


def last_step(run: Run) -> int:
    return max((row["step"] for row in run.rows() if "lr" in row), default=0)
