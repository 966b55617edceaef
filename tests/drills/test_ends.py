"""A rank or its launcher is killed: the others end soon, nobody is left behind, the code says what to do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml

from pipeline.formats.run import Run
from tests.drills.conftest import Drill
from tests.drills.nodes import patience, wait_until

ROOT = Path(__file__).parents[2]
STEPS, EVERY_STEPS = 240, 20
START_SECONDS, RUN_SECONDS = 120, 240  # where other programs use the machine
END_SECONDS = 10
COMMAND_SECONDS = 40  # for launcher and command to see the end; four programs end, one after the other
# Where control groups of version 1 and 2 are, and what a group may have at most.
MEMORY = ((Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"), (Path("/sys/fs/cgroup"), "memory.max"))

pytestmark = [pytest.mark.timed, pytest.mark.slow, pytest.mark.timeout(600)]


class Training:
    """A run of two processes, started by a launcher."""

    def __init__(self, folder: Path, values: dict, launcher: dict[str, object]):
        self.folder, self.run = folder, Run(folder / "run")
        own = {
            "out": str(self.run.directory),
            "train_tokens": STEPS * values["global_batch_tokens"],
            "engine": {"kind": "ddp", "device": "cpu", "threads": 1},
            "validation": {"every_steps": 0, "tokens": 256},
            "checkpoint": {"every_steps": EVERY_STEPS},
        }
        self._config, self._on = folder / "train.yaml", folder / "on.yaml"
        self._config.write_text(yaml.safe_dump({**values, **own}))
        self._on.write_text(yaml.safe_dump(launcher))
        self.command: subprocess.Popen[str] | None = None

    def start(self) -> subprocess.Popen[str]:
        """Start the command and return once a checkpoint of this start is published."""
        before = self.run.checkpoints()[-1:]
        command = self.command = subprocess.Popen(
            [sys.executable, "-m", "pipeline", "train", str(self._config), "--on", str(self._on)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

        def is_there() -> bool:
            assert command.poll() is None, command.communicate()[0]
            return self.run.checkpoints()[-1:] != before

        wait_until(is_there, START_SECONDS, "a checkpoint")
        return command

    def ranks(self) -> list[psutil.Process]:
        """Return the processes that train."""
        found = []
        for process in self.processes():
            with suppress(psutil.Error):
                if "RANK" in process.environ():
                    found.append(process)
        return found

    def launcher(self) -> psutil.Process:
        """Return the process whose children the ranks are: torchrun's agent, or DeepSpeed's."""
        found = self.ranks()[0].parent()
        assert found is not None
        return found

    def processes(self) -> list[psutil.Process]:
        """Return all processes that work on this run, whatever their parents are."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                words = " ".join(process.cmdline())
                if str(self.folder) in words and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def ended(self, seconds: float = COMMAND_SECONDS) -> tuple[int, str]:
        """Return how the command ends, in time, and with it all that belongs to it."""
        assert self.command is not None
        said, _ = self.command.communicate(timeout=patience(seconds))
        wait_until(lambda: not self.processes(), 1, "nobody is left")
        return self.command.returncode, said

    def end(self) -> None:
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        if self.command is not None:
            self.command.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(params=["torchrun", "deepspeed"])
def training(request: pytest.FixtureRequest, values: dict, tmp_path: Path) -> Iterator[Training]:
    on: dict[str, object] = {"kind": "torchrun", "processes": 2}
    if request.param == "deepspeed":
        (tmp_path / "hosts").write_text("localhost slots=2\n")
        on = {"kind": "deepspeed", "hostfile": str(tmp_path / "hosts"), "master_port": free_port()}
    made = Training(tmp_path, values, on)
    yield made
    made.end()


@pytest.fixture
def no_memory() -> Iterator[Path]:
    """A control group whose processes may have no memory beyond what they came with."""
    root, limit = MEMORY[0] if MEMORY[0][0].is_dir() else MEMORY[1]
    group = root / f"loglinear-drill-{os.getpid()}"
    try:
        group.mkdir()
        (group / limit).write_text("65536")
    except OSError as error:
        with suppress(OSError):
            group.rmdir()
        pytest.skip(f"a control group of its own wants root and the memory controller: {error}")
    yield group
    wait_until(lambda: not (group / "cgroup.procs").read_text(), END_SECONDS, "the group is empty")
    group.rmdir()


def test_a_rank_out_of_memory_ends_the_others(drill: Drill, training: Training, no_memory: Path) -> None:
    drill.promise(
        "R8", "a rank's control group is out of memory, under torchrun and DeepSpeed's launcher: the end"
    )
    training.start()
    victim = drill.random.choice(training.ranks())
    (no_memory / "cgroup.procs").write_text(str(victim.pid))  # the kernel kills it where it next wants a page

    wait_until(lambda: not training.ranks(), patience(END_SECONDS), "the ranks end")
    code, said = training.ended()

    assert code == 1, said
    assert "ended without a word: killed" in said and "out of memory?" in said, said
    training.start()
    assert training.ended(RUN_SECONDS)[0] == 0
    drill.passed()


def test_a_killed_rank_ends_the_others_and_nobody_is_left_behind(drill: Drill, training: Training) -> None:
    drill.promise("R8", "kill -9 of one rank, under torchrun and DeepSpeed's launcher: the end, within 10 s")
    for _ in drill.trials(few=1, full=2):
        training.start()
        drill.random.choice(training.ranks()).kill()

        wait_until(lambda: not training.ranks(), patience(END_SECONDS), "the other rank ends")
        code, said = training.ended()

        assert code == 1, "failed, and may be started again; 2 would be for nothing"
        assert "ended without a word: killed" in said, said
        drill.passed()
    training.start()
    assert training.ended(RUN_SECONDS)[0] == 0
    assert [row["step"] for row in training.run.rows() if "loss" in row] == list(range(1, STEPS + 1))


def test_the_ranks_of_a_killed_launcher_save_their_work_and_end(drill: Drill, training: Training) -> None:
    drill.promise("R8", "kill -9 of torchrun's agent and of DeepSpeed's: the end, within 10 s, work saved")
    training.start()
    training.launcher().kill()

    wait_until(lambda: not training.ranks(), patience(END_SECONDS), "the ranks end")
    code, said = training.ended()

    assert code == 75, said
    newest = training.run.checkpoints()[-1].name
    steps = [row["step"] for row in training.run.rows() if "loss" in row]
    assert newest == f"step-{steps[-1]:08d}", "no step is lost"


@pytest.mark.parametrize("training", ["torchrun"], indirect=True)
def test_torchrun_starts_the_ranks_again_no_more_often_than_it_was_told(
    drill: Drill, training: Training, tmp_path: Path
) -> None:
    drill.promise("R8", "kill -9 of one rank in each start: restarts in place, at most as many as set")
    (tmp_path / "on.yaml").write_text(yaml.safe_dump({"kind": "torchrun", "processes": 2, "restarts": 1}))
    training.start()
    for attempt in (0, 1):
        wait_until(lambda: len(training.run.attempts()) > attempt, START_SECONDS, "a start")  # noqa: B023
        wait_until(lambda: len(training.ranks()) == 2, START_SECONDS, "both ranks")
        training.ranks()[1].send_signal(signal.SIGKILL)
        time.sleep(0.5)

    code, said = training.ended()

    assert code == 1, said
    assert len(training.run.attempts()) == 2
