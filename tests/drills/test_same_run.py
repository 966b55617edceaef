"""Two starts on one run, a writer that was thought dead, and a dataset that nobody may write to."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import psutil
import pytest
import yaml

from pipeline.config import validate
from pipeline.errors import StageError
from pipeline.formats.checkpoint import Meta, verify
from pipeline.formats.run import Run, RunWriter, writing
from pipeline.train import stage
from tests.drills.conftest import Drill
from tests.drills.nodes import wait_until

ROOT = Path(__file__).parents[2]
STEPS = 150
START_SECONDS, RUN_SECONDS = 120, 240  # where other programs use the machine
LAUNCHERS: dict[str, dict[str, object] | None] = {
    "direct": None,
    "local": {"kind": "local", "threads": 1},
    "torchrun": {"kind": "torchrun", "processes": 2},
    "deepspeed": {"kind": "deepspeed", "hostfile": "HOSTS"},
}

pytestmark = pytest.mark.timeout(600)


class Commands:
    """The same command, started more than once."""

    def __init__(self, folder: Path, values: dict, launcher: str):
        self.folder, self.run = folder, Run(folder / "run")
        kind = "ddp" if launcher in ("torchrun", "deepspeed") else "single"
        own = {
            "out": str(self.run.directory),
            "train_tokens": STEPS * values["global_batch_tokens"],
            "engine": {"kind": kind, "device": "cpu", "threads": 1},
            "validation": {"every_steps": 0, "tokens": 256},
            "checkpoint": {"every_steps": 0},
        }
        self.config = folder / "train.yaml"
        self.config.write_text(yaml.safe_dump({**values, **own}))
        self._words = [sys.executable, "-m", "pipeline", "train", str(self.config)]
        settings = LAUNCHERS[launcher]
        if settings:
            (folder / "hosts").write_text("localhost slots=2\n")
            on = {
                key: str(folder / "hosts") if value == "HOSTS" else value for key, value in settings.items()
            }
            on |= {"master_port": free_port()} if launcher == "deepspeed" else {}
            (folder / "on.yaml").write_text(yaml.safe_dump(on))
            self._words += ["--on", str(folder / "on.yaml")]
        self.started: list[subprocess.Popen[str]] = []

    def start(self) -> subprocess.Popen[str]:
        command = subprocess.Popen(
            self._words,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(command)
        return command

    def wait_for_a_step(self, command: subprocess.Popen[str]) -> None:
        def has_step() -> bool:
            assert command.poll() is None, command.communicate()[0]
            return any("loss" in row for row in self.run.rows())

        wait_until(has_step, START_SECONDS, "a step")

    def end(self) -> None:
        """End what is left; ranks end with their command."""
        for command in self.started:
            if command.poll() is None:
                for process in psutil.Process(command.pid).children(recursive=True):
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
                command.kill()
                command.communicate()


@pytest.fixture
def commands(values: dict, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Commands]:
    made = Commands(tmp_path, values, request.param)
    yield made
    made.end()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ended(command: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = command.communicate(timeout=RUN_SECONDS)
    return command.returncode, said


def assert_whole(run: Run) -> None:
    assert run.finished
    assert [row["step"] for row in run.rows() if "loss" in row] == list(range(1, STEPS + 1))
    assert len(run.attempts()) == 1, "the refused one left no trace in the run"


@pytest.mark.parametrize(
    "commands",
    ["local", *(pytest.param(name, marks=pytest.mark.slow) for name in ("direct", "torchrun", "deepspeed"))],
    indirect=True,
)
def test_the_second_of_two_starts_is_refused_by_name_and_the_first_goes_on(
    drill: Drill, commands: Commands
) -> None:
    drill.promise("read-only, twice", "a second start on a run that is being written, under each launcher")
    first = commands.start()
    commands.wait_for_a_step(first)

    first.send_signal(signal.SIGSTOP)  # it would come to its end while the second one waits for it
    code, said = ended(commands.start())
    first.send_signal(signal.SIGCONT)

    assert code == 1, said
    assert re.search(rf"process \d+ on {socket.gethostname()}\b", said.splitlines()[-1]), said
    assert "Traceback" not in said
    assert first.poll() is None, "the first is not disturbed"
    code, said = ended(first)
    assert code == 0, said
    assert_whole(commands.run)


@pytest.mark.slow
@pytest.mark.parametrize("commands", ["torchrun"], indirect=True)
def test_of_two_starts_at_once_one_trains_and_one_is_refused(drill: Drill, commands: Commands) -> None:
    drill.promise("read-only, twice", "two starts on one run at the same moment")
    both = [ended(command) for command in (commands.start(), commands.start())]

    assert sorted(code for code, _ in both) == [0, 1], both
    assert_whole(commands.run)


def publish(writer: RunWriter, step: int) -> None:
    meta = Meta(
        step=step, tokens=step, complete=False, engine="e", world_size=1, epoch=writer.epoch,
        config_hash="", data_hash="",
    )  # fmt: skip
    with writer.publishing_checkpoint(meta) as draft:
        (draft / "model").mkdir()
        (draft / "model" / "weights").write_text(f"{writer.epoch}")


def test_a_first_process_that_was_thought_dead_and_comes_back_can_publish_nothing(
    drill: Drill, tmp_path: Path
) -> None:
    drill.promise("R9", "a stale rank 0 comes back while a newer attempt has the run: epochs of the run")
    for number in drill.trials(few=5, full=50):
        one_writer_publishes(tmp_path / f"{number}", drill.random)
        drill.passed()


def one_writer_publishes(directory: Path, random: Random) -> None:
    """Let two writers act in a random order, once the second has taken over; only its work may be there."""
    with writing(directory) as stale:
        stale.append({"step": 1, "loss": 1.0})
        publish(stale, 1)
        (directory / "writer.lock").unlink()  # a file server that was restarted has lost its locks
        with writing(directory) as writer:
            writer.rewind(1)
            turns = ["row", "checkpoint", "rollback"] * 2 + [
                "row of the writer",
                "checkpoint of the writer",
            ] * 2
            random.shuffle(turns)
            step = 1
            for turn in turns:
                if turn == "row of the writer":
                    writer.append({"step": step, "loss": 2.0})
                elif turn == "checkpoint of the writer":
                    step += 1
                    publish(writer, step)
                else:
                    refused(stale, turn, step + 1)

    run = Run(directory)
    metas = [verify(checkpoint) for checkpoint in run.checkpoints()]
    assert [(meta.step, meta.epoch) for meta in metas] == [(1, 1), (2, 2), (3, 2)]
    assert [row["loss"] for row in run.rows()] == [1.0, 2.0, 2.0]


def refused(stale: RunWriter, turn: str, step: int) -> None:
    with pytest.raises(StageError, match=rf"process {os.getpid()} on .* \(epoch 2\) took this run over"):
        if turn == "row":
            stale.append({"step": step, "loss": 3.0})
        elif turn == "checkpoint":
            publish(stale, step)
        else:
            stale.newest_good(lambda _: False)


@pytest.fixture
def read_only(dataset: Path, tmp_path: Path) -> Iterator[Path]:
    """The dataset where nobody may write, not even root: as a read-only mount, or by its modes."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    mounted = [
        ["mount", "--bind", str(dataset), str(folder)],
        ["mount", "-o", "remount,ro,bind", str(folder)],
    ]
    if os.geteuid() or any(subprocess.run(words, capture_output=True).returncode for words in mounted):
        pytest.skip("a read-only mount wants root")
    yield folder
    subprocess.run(
        ["umount", "--lazy", str(folder)], check=True
    )  # its shards are mapped until they are forgotten


def test_a_dataset_that_is_read_only_is_trained_on(
    drill: Drill, values: dict, read_only: Path, dataset: Path
) -> None:
    drill.promise("read-only, twice", "training on a read-only dataset directory")
    with pytest.raises(OSError, match="Read-only file system"):
        (read_only / "probe").touch()
    before = sorted(dataset.rglob("*"))
    config = validate(stage.Config, {**values, "data": str(read_only)}, "drill")

    stage.run(config, stage.plan(config))

    assert Run(config.out).finished
    assert sorted(dataset.rglob("*")) == before
