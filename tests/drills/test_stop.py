"""Preemption: asked to stop at any moment, a job saves what it has done, says so and can go on."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from functools import cache
from itertools import count
from pathlib import Path

import psutil
import pytest

from pipeline.formats.checkpoint import Meta, verify
from pipeline.formats.run import Run
from tests.drills.conftest import Drill
from tests.drills.faults import plant
from tests.drills.jobs import ENGINES as KINDS_OF_ENGINES
from tests.drills.jobs import STEPS, Job, assert_same, ended, many_small_steps, wait_for

STOP_FILE = "stop file"
KINDS = ("SIGTERM", "SIGUSR1", "SIGINT", STOP_FILE)
GRACE_SECONDS = (
    60.0  # less than what clusters leave between their signal and the kill, torch's start included
)
SHARE_AT_START = 0.3
ENGINES = [
    pytest.param("single", 1, id="single"),
    pytest.param("fsdp2", 2, id="fsdp2", marks=pytest.mark.slow),
    pytest.param("ZeRO-2", 2, id="ZeRO-2", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module")
def undisturbed(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Run]:
    """Return a run that nobody disturbs, made once for each engine."""

    @cache
    def made(engine: str, processes: int) -> Run:
        job = Job(tmp_path_factory.mktemp("whole") / engine, many_small_steps(dataset), engine, processes)
        job.finish()
        return job.run

    return made


@pytest.mark.parametrize(("engine", "processes"), ENGINES)
def test_a_job_asked_to_stop_at_any_moment_loses_no_step_and_goes_on(
    drill: Drill, undisturbed, dataset: Path, tmp_path: Path, engine: str, processes: int
) -> None:
    drill.promise("R10", f"asked to stop by {', '.join(KINDS)} in turn, {engine} on {processes}: exit 75")
    whole = undisturbed(engine, processes)
    jobs = (Job(tmp_path / str(n), many_small_steps(dataset), engine, processes) for n in count())
    job, stops = next(jobs), 0
    for trial in drill.trials(few=1, full=20):
        while not asked_to_stop(drill, job, KINDS[trial % len(KINDS)]):
            assert_same(job.run, whole)
            drill.passed(stops)
            job, stops = next(jobs), 0
        stops += 1
    if not job.run.finished:
        job.finish()
    assert_same(job.run, whole)
    assert len({attempt["wandb_id"] for attempt in job.run.attempts()}) == 1
    drill.passed(stops)


def asked_to_stop(drill: Drill, job: Job, kind: str) -> bool:
    """Start a job and ask it to stop at some moment; tell whether it was before the job had ended."""
    command = job.start()
    assert wait_for(command, lambda: holds_signals(command.pid)), ended(command)
    if drill.random.random() < SHARE_AT_START and kind != STOP_FILE:
        time.sleep(drill.random.uniform(0, 3))
    else:
        seen, more = len(steps(job.run)), drill.random.randint(1, STEPS // 4)
        wait_for(command, lambda: len(steps(job.run)) >= min(seen + more, STEPS - 1))
    if command.poll() is not None:
        assert command.returncode == 0, ended(command)
        return False
    began = time.monotonic()
    if kind == STOP_FILE:
        job.run.request_stop()
    else:
        command.send_signal(signal.Signals[kind])
    code, told = ended(command)
    if code == 0:
        return False
    assert code == 75, told
    assert time.monotonic() - began < GRACE_SECONDS
    assert_nothing_lost(job.run)
    return True


def assert_nothing_lost(run: Run) -> None:
    """Hold a stopped run to what it logged: the last step is in its newest checkpoint, which is whole."""
    logged = steps(run)
    if not run.checkpoints():
        assert not logged
        return
    saved = verify(run.checkpoints()[-1])
    assert saved.step == max(logged)
    if run.exit.exists():  # a job that had not begun leaves no word of its own
        left = json.loads(run.exit.read_text())
        assert (left["reason"], left["exit_code"], left["step"]) == ("stopped", 75, saved.step)


# Where in the program a rank, with all that it has started, is sent a signal, as torchrun passes one on.
MOMENTS = {
    "start-up": "pipeline.train.stage:_start",
    "the meeting of the ranks": "pipeline.train.loop:join",
    "the loading of a checkpoint": "pipeline.train.loop:Attempt._go_to",
    "validation": "pipeline.train.validation:Validation.run",
    "saving": "pipeline.trainer.state:write_shard",
}


@pytest.mark.parametrize("moment", [pytest.param(moment, marks=pytest.mark.slow) for moment in MOMENTS])
def test_a_signal_to_one_rank_is_held_until_all_can_stop(
    drill: Drill, undisturbed, dataset: Path, tmp_path: Path, monkeypatch, moment: str
) -> None:
    drill.promise("R10", "a signal to one rank in start, meeting, loading, validation and saving, fsdp2 on 2")
    for trial in drill.trials(few=1, full=1):
        kind = drill.random.choice(KINDS[:3])
        rank = drill.random.randrange(2)
        fault = f"os.killpg(0, signal.{kind})"
        job = Job(tmp_path / str(trial), many_small_steps(dataset), "fsdp2", 2)
        monkeypatch.setenv("PYTHONPATH", plant(tmp_path / "fault", MOMENTS[moment], fault, rank))

        code, told = ended(job.start())

        assert code == 75, told
        assert_nothing_lost(job.run)
        left = json.loads(job.run.exit.read_text())
        assert (left["exit_code"], left["because"]) == (75, kind)
        monkeypatch.delenv("PYTHONPATH")
        job.finish()
        assert_same(job.run, undisturbed("fsdp2", 2))
        drill.passed()


@pytest.mark.slow
@pytest.mark.timeout(900)  # compiling takes long where others use the machine
def test_a_signal_while_the_model_is_compiled_does_not_reach_the_compiler(
    drill: Drill, dataset: Path, tmp_path: Path, monkeypatch
) -> None:
    drill.promise("R10", "a signal to a rank and its compilers while the model is compiled")
    for trial in drill.trials(few=1, full=1):
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / f"cache-{trial}"))
        values = many_small_steps(dataset, train_tokens=10**9)
        monkeypatch.setitem(KINDS_OF_ENGINES, "compiled", {"kind": "single", "compile": True})
        job = Job(tmp_path / str(trial), values, "compiled", 1)
        command = job.start()
        assert wait_for(command, lambda job=job: compilers(job)), ended(command)
        os.killpg(job.ranks()[0].pid, signal.SIGTERM)  # as torchrun passes a signal on

        code, told = ended(command)

        assert code == 75, told
        assert_nothing_lost(job.run)
        drill.passed()


@pytest.mark.slow
def test_a_second_signal_while_a_checkpoint_is_saved_ends_at_once_and_harms_nothing(
    drill: Drill, undisturbed, dataset: Path, tmp_path: Path, monkeypatch
) -> None:
    drill.promise("R10", "a second signal while a checkpoint is being saved, single on 1")
    for trial in drill.trials(few=1, full=5):
        job = Job(tmp_path / str(trial), many_small_steps(dataset), "single", 1)
        slow = plant(tmp_path / "fault", "pipeline.train.objective:write_model", "time.sleep(8)", call=2)
        monkeypatch.setenv("PYTHONPATH", slow)
        command = job.start()
        assert wait_for(command, job.run.checkpoints), ended(command)
        (trains,) = job.ranks()
        first, second = drill.random.choice(KINDS[:3]), drill.random.choice(KINDS[:3])
        trains.send_signal(signal.Signals[first])
        assert wait_for(command, lambda job=job: drafts(job.run)), ended(command)
        time.sleep(drill.random.uniform(0.6, 2))

        trains.send_signal(signal.Signals[second])
        gone, _ = psutil.wait_procs([trains], timeout=3)

        assert gone, "still there"
        code, told = ended(command)
        assert code not in (0, 75), told
        assert drafts(job.run)
        assert Meta.read(job.run.checkpoints()[-1]).step == 12
        monkeypatch.delenv("PYTHONPATH")
        job.finish()
        assert_same(job.run, undisturbed("single", 1))
        drill.passed()


def compilers(job: Job) -> list[psutil.Process]:
    """Return the compilers of C++ that a job's processes have started; a few times a second is enough."""
    time.sleep(0.1)
    found = [child for rank in job.ranks() for child in rank.children(recursive=True)]
    return [child for child in found if child.name() == "cc1plus"]


def drafts(run: Run) -> list[Path]:
    return list(run.checkpoint_folder.glob(".step-*.partial-*"))


def steps(run: Run) -> list[int]:
    return [row["step"] for row in run.rows() if "lr" in row]


def holds_signals(process: int) -> bool:
    """Tell whether a process blocks SIGTERM, which a thread of its own then waits for."""
    status = Path(f"/proc/{process}/status").read_text()
    blocked = int(status.partition("SigBlk:")[2].split()[0], 16)
    return bool(blocked >> (signal.SIGTERM - 1) & 1)
