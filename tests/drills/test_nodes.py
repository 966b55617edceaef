"""Nodes that die, cables that are cut and come back: a clear end, or on from the last checkpoint."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipeline.formats.run import Run
from tests.drills.conftest import Drill
from tests.drills.jobs import assert_same
from tests.drills.nodes import Node, Nodes, patience, two_nodes, wait_until

STEPS, EVERY_STEPS = 240, 20
START_SECONDS, RUN_SECONDS = 120, 240  # where other programs use the machine
HANG_SECONDS = 6
# A cut ends the ranks after HANG_SECONDS and some; torchrun, which then waits without end, 30 s later.
END_SECONDS = HANG_SECONDS + 45

pytestmark = [pytest.mark.timed, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with two_nodes() as made:
        yield made


@pytest.fixture(autouse=True)
def as_it_was(nodes: Nodes) -> Iterator[None]:
    """Leave nothing running on the nodes, and the cable whole."""
    yield
    for node in nodes.all:
        node.kill()
    nodes.mend()


class Trial:
    """A run on both nodes, in a folder that both see."""

    def __init__(self, folder: Path, values: dict, nodes: Nodes, restarts: int = 0, meet: int = 15):
        folder.mkdir()
        self.folder, self.nodes, self.run = folder, nodes, Run(folder / "run")
        own = {
            "out": str(self.run.directory),
            "train_tokens": STEPS * values["global_batch_tokens"],
            "engine": {"kind": "ddp", "device": "cpu", "threads": 1},
            "validation": {"every_steps": 0, "tokens": 256},
            "checkpoint": {"every_steps": EVERY_STEPS, "keep": 5},
            "watchdog": {"seconds": HANG_SECONDS},
        }
        self.config = folder / "train.yaml"
        self.config.write_text(yaml.safe_dump({**values, **own}))
        self.on = nodes.launcher(folder, restarts=restarts, meet_seconds=meet, grace_seconds=20)
        self.commands: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start the same command on both nodes."""
        self.commands = [node.start(self.config, self.on) for node in self.nodes.all]

    def wait_for_checkpoint(self) -> None:
        """Return once a checkpoint of this start is published."""
        before = len(self.run.checkpoints())

        def is_there() -> bool:
            assert all(command.poll() is None for command in self.commands), self.told()
            return len(self.run.checkpoints()) > before

        wait_until(is_there, START_SECONDS, "a checkpoint")

    def codes(self, seconds: float) -> list[int | None]:
        """Return how the commands end, which must be within a time, leaving nothing behind."""
        wait_until(lambda: None not in [command.poll() for command in self.commands], seconds, self.told())
        assert [node.processes() for node in self.nodes.all] == [[], []]
        return [command.returncode for command in self.commands]

    def finish(self) -> None:
        """Give the same command again, on both nodes, and see it through."""
        self.start()
        assert self.codes(RUN_SECONDS) == [0, 0], self.told()

    def said(self, node: Node) -> str:
        return node.said(self.config).read_text()

    def told(self) -> str:
        return "\n".join(self.said(node)[-2000:] for node in self.nodes.all)

    def events(self) -> list[object]:
        return [row["event"] for row in self.run.rows() if row.get("event") == "resumed"]


@pytest.fixture(scope="module")
def whole(nodes: Nodes, tmp_path_factory: pytest.TempPathFactory, dataset: Path) -> Run:
    """The same run, undisturbed."""
    trial = Trial(tmp_path_factory.mktemp("nodes") / "whole", _values(dataset), nodes)
    trial.finish()
    return trial.run


def _values(dataset: Path) -> dict:
    return {
        "data": str(dataset),
        "model": {"n_layer": 1, "n_head": 2, "n_embd": 16, "n_ctx": 16, "vocab_size": 300, "dropout": 0.1},
        "optim": {"lr": 1e-2},
        "schedule": {"warmup_tokens": 128},
        "global_batch_tokens": 64,
        "micro_batch_sequences": 2,
        "log_every_steps": 1,
    }


def test_a_node_that_dies_ends_the_other_which_names_it_and_both_go_on_when_started_again(
    drill: Drill, nodes: Nodes, whole: Run, dataset: Path, tmp_path: Path
) -> None:
    drill.promise(
        "R8", "kill -9 of all of one of two nodes; the other ends by itself, the same command goes on"
    )
    for number in drill.trials(few=1, full=3):
        trial = Trial(tmp_path / f"{number}", _values(dataset), nodes)
        trial.start()
        trial.wait_for_checkpoint()
        time.sleep(drill.random.uniform(0, 1))
        dead, left = drill.random.sample(nodes.all, 2)
        dead.kill()
        codes = trial.codes(patience(END_SECONDS))

        assert codes[left.number] == 1
        last = trial.said(left).splitlines()[-1]
        assert f"rank {_rank_on(trial, dead)} of 2 on " in last and f"-{dead.number} failed first" in last, (
            last
        )
        assert "is down, its process was killed, or the network to it is cut" in trial.said(left)
        trial.finish()
        assert_same(trial.run, whole)
        drill.passed()


def test_a_cut_cable_ends_both_nodes_with_the_place_where_they_waited_and_they_go_on_when_it_is_mended(
    drill: Drill, nodes: Nodes, whole: Run, dataset: Path, tmp_path: Path
) -> None:
    drill.promise(
        "R9", "the cable between two nodes is cut; both end, the same command goes on once it is mended"
    )
    for number in drill.trials(few=1, full=2):
        trial = Trial(tmp_path / f"{number}", _values(dataset), nodes)
        trial.start()
        trial.wait_for_checkpoint()
        time.sleep(drill.random.uniform(0, 1))
        nodes.cut()

        assert trial.codes(patience(END_SECONDS)) == [1, 1], trial.told()
        for node in nodes.all:
            assert "failed first" in trial.said(node).splitlines()[-1]
            assert f"got on for {HANG_SECONDS} s" in trial.said(node)
        nodes.mend()
        trial.finish()
        assert_same(trial.run, whole)
        drill.passed()


def test_a_cable_that_is_back_before_anybody_gave_up_costs_nothing(
    drill: Drill, nodes: Nodes, whole: Run, dataset: Path, tmp_path: Path
) -> None:
    drill.promise("R9", "the cable is cut for a second; the run goes on where it was")
    trial = Trial(tmp_path / "trial", _values(dataset), nodes)
    trial.start()
    trial.wait_for_checkpoint()
    nodes.cut()
    time.sleep(1)
    nodes.mend()

    assert trial.codes(RUN_SECONDS) == [0, 0], trial.told()
    assert not trial.events(), "nobody started again"
    assert_same(trial.run, whole)


def test_torchrun_starts_the_ranks_again_by_itself_once_the_cable_is_back(
    drill: Drill, nodes: Nodes, whole: Run, dataset: Path, tmp_path: Path
) -> None:
    drill.promise(
        "R9", "the cable is cut until both ranks have ended, and mended; restarts of torchrun go on"
    )
    trial = Trial(tmp_path / "trial", _values(dataset), nodes, restarts=2, meet=90)
    trial.start()
    trial.wait_for_checkpoint()
    nodes.cut()
    wait_until(lambda: _ended_ranks(trial) == 2, patience(END_SECONDS), "the ranks end")
    time.sleep(2)
    nodes.mend()

    # The longer the cable was out, the longer the kernel waits before it tries again; hence so long to meet.
    assert trial.codes(patience(RUN_SECONDS)) == [0, 0], trial.told()
    assert trial.events(), "it went on from a checkpoint"
    assert_same(trial.run, whole)


def _rank_on(trial: Trial, node: Node) -> int:
    return next(record["rank"] for record in _records(trial) if record["node"].endswith(f"-{node.number}"))


def _ended_ranks(trial: Trial) -> int:
    return sum("exit_code" in record for record in _records(trial))


def _records(trial: Trial) -> list[dict]:
    from launch.rank import records

    return records(trial.run.directory / "logs" / "train")
