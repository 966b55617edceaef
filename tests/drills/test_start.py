"""Starts that cannot succeed: told within a minute, with cause and remedy; nobody waits in silence."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from tests.drills.conftest import Drill
from tests.drills.nodes import patience

ROOT = Path(__file__).parents[2]
TOLD_SECONDS = 60
STEPS = 10

pytestmark = [pytest.mark.timed, pytest.mark.timeout(600)]


class Starts:
    """A configuration of two processes, and the commands that start it, here or as several nodes."""

    def __init__(self, folder: Path, values: dict):
        self.folder = folder
        own = {
            "out": str(folder / "run"),
            "train_tokens": STEPS * values["global_batch_tokens"],
            "engine": {"kind": "ddp", "device": "cpu", "threads": 1},
            "validation": {"every_steps": 0, "tokens": 256},
        }
        self.config = folder / "train.yaml"
        self.config.write_text(yaml.safe_dump({**values, **own}))
        self._started: list[subprocess.Popen[str]] = []

    def command(self, on: dict, cwd: Path = ROOT, verb: str = "train", **more: str) -> subprocess.Popen[str]:
        """Start a command; `more` is laid over its environment."""
        file = self.folder / "on.yaml"
        file.write_text(yaml.safe_dump(on))
        words = ["train", str(self.config)] if verb == "train" else ["doctor", str(self.folder)]
        command = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *words, "--on", str(file)],
            cwd=cwd,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._started.append(command)
        return command

    def hosts(self, text: str) -> str:
        file = self.folder / "hosts"
        file.write_text(text)
        return str(file)

    def told(self, *commands: subprocess.Popen[str], code: int = 2) -> list[str]:
        """Return what commands said that have ended with a code, in time and without a traceback."""
        until = time.monotonic() + patience(TOLD_SECONDS)
        said = []
        for command in commands:
            try:
                said.append(command.communicate(timeout=max(until - time.monotonic(), 0.1))[0])
            except subprocess.TimeoutExpired:
                pytest.fail(f"nothing was told within {TOLD_SECONDS} s")
            assert command.returncode == code, said[-1]
            assert "Traceback" not in said[-1], said[-1]
        return said

    def end(self) -> None:
        for command in self._started:
            if command.poll() is None:
                for process in [*psutil.Process(command.pid).children(recursive=True), command]:
                    process.kill()
                command.communicate()


@pytest.fixture
def starts(values: dict, tmp_path: Path) -> Iterator[Starts]:
    made = Starts(tmp_path, values)
    yield made
    made.end()


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port at which another program listens, and answers nothing."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield int(other.getsockname()[1])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def nodes(endpoint: str) -> dict:
    return {"kind": "torchrun", "nodes": 2, "processes": 1, "endpoint": endpoint, "meet_seconds": 40}


def without_ssh(
    starts: Starts, address: str | None, port: int, hosts: str = "node-0 slots=1\nnode-1 slots=1\n"
) -> dict:
    on = {"kind": "deepspeed", "hostfile": starts.hosts(hosts), "no_ssh": True, "master_port": port}
    return {**on, "master_address": address} if address else on


def test_an_endpoint_that_does_not_resolve_is_told_at_once(drill: Drill, starts: Starts) -> None:
    drill.promise("R20", "torchrun: the endpoint's name does not resolve")
    (said,) = starts.told(starts.command(nodes("no-such-node.invalid:29400"), NODE_RANK="0"))

    assert "endpoint: no-such-node.invalid does not resolve on this node" in said
    assert "/etc/hosts" in said


def test_a_master_that_does_not_resolve_is_told_at_once(drill: Drill, starts: Starts) -> None:
    drill.promise("R20", "DeepSpeed: the first host's name does not resolve")
    on = without_ssh(starts, None, free_port(), "no-such-node.invalid slots=1\nnode-1 slots=1\n")
    (said,) = starts.told(starts.command(on, NODE_RANK="0"))

    assert "hostfile: no-such-node.invalid does not resolve on this node" in said


def test_a_port_of_deepspeed_that_is_taken_is_told_at_once(
    drill: Drill, starts: Starts, taken_port: int
) -> None:
    drill.promise("R20", "DeepSpeed: master_port is taken by another program")
    on = {"kind": "deepspeed", "hostfile": starts.hosts("localhost slots=2\n"), "master_port": taken_port}
    (said,) = starts.told(starts.command(on))

    assert f"master_port: {taken_port} is taken on this node by another program" in said


@pytest.mark.slow
def test_a_port_of_deepspeed_that_is_taken_on_the_first_of_several_nodes_is_told_on_all(
    drill: Drill, starts: Starts, taken_port: int
) -> None:
    drill.promise("R20", "DeepSpeed without ssh: master_port is taken on the first node")
    on = without_ssh(starts, "127.0.0.1", taken_port)
    both = starts.told(*(starts.command(on, NODE_RANK=f"{number}") for number in (0, 1)))

    for said in both:
        assert f"MASTER_PORT: {taken_port} is taken on" in said


@pytest.mark.slow
def test_a_master_address_of_another_node_is_told_on_all(drill: Drill, starts: Starts) -> None:
    drill.promise("R20", "DeepSpeed without ssh: master_address is not the first node's")
    on = without_ssh(starts, "192.0.2.1", free_port())  # of documentation, nobody's
    both = starts.told(*(starts.command(on, NODE_RANK=f"{number}") for number in (0, 1)))

    for said in both:
        assert "MASTER_ADDR: 192.0.2.1 is no address of" in said


def test_an_endpoint_that_another_program_has_is_told(drill: Drill, starts: Starts, taken_port: int) -> None:
    drill.promise("R20", "torchrun: the endpoint's port is taken by another program")
    (said,) = starts.told(starts.command(nodes(f"127.0.0.1:{taken_port}"), NODE_RANK="0"))

    assert f"endpoint: port {taken_port} is taken on this node by " in said
    # By its own words, which begin with the path that it was started by.
    assert psutil.Process().cmdline()[0] in said, "the program that has it is named"


@pytest.mark.slow
def test_an_endpoint_where_nobody_answers_is_told(drill: Drill, starts: Starts) -> None:
    drill.promise("R20", "torchrun: nobody listens at the endpoint")
    (said,) = starts.told(starts.command(nodes(f"192.0.2.1:{free_port()}"), NODE_RANK="1"), code=1)

    assert "nobody answers at the endpoint" in said


@pytest.mark.slow
def test_a_node_that_does_not_come_is_told(drill: Drill, starts: Starts) -> None:
    drill.promise("R20", "torchrun: the second node is never started")
    on = {**nodes(f"127.0.0.1:{free_port()}"), "meet_seconds": 10}
    (said,) = starts.told(starts.command(on, NODE_RANK="0"), code=1)

    assert "not every node came to the meeting in time" in said


@pytest.mark.slow
def test_a_shard_that_one_rank_lacks_is_told_by_name(
    drill: Drill, starts: Starts, values: dict, dataset: Path
) -> None:
    drill.promise("R20", "a shard is missing on one of two nodes")
    # Each node has a disk of its own, and the dataset at the same place there.
    for number in (0, 1):
        shutil.copytree(dataset, starts.folder / f"disk-{number}" / "dataset")
    (starts.folder / "disk-1" / "dataset" / "shards" / "train-00001.ds").unlink()
    written = yaml.safe_load(starts.config.read_text())
    starts.config.write_text(yaml.safe_dump({**written, "data": "dataset"}))
    on = nodes(f"127.0.0.1:{free_port()}")
    both = starts.told(
        *(starts.command(on, starts.folder / f"disk-{number}", NODE_RANK=f"{number}") for number in (0, 1))
    )

    for said in both:
        assert "dataset/shards/train-00001.ds" in said, said
        assert "-1 failed first (exit code 2)" in said.splitlines()[-1], said


@pytest.mark.slow
@pytest.mark.parametrize("package", ["torch", "loglinear"])
def test_versions_that_differ_are_told_with_the_ranks_that_have_them(
    drill: Drill, starts: Starts, package: str
) -> None:
    drill.promise("R20", f"another version of {package} on one of two nodes")
    installed = starts.folder / "other" / f"{package}-1.2.3.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2.3\n")
    other = {"PYTHONPATH": f"{installed.parent}{os.pathsep}{ROOT}"}
    on = nodes(f"127.0.0.1:{free_port()}")
    both = starts.told(starts.command(on, NODE_RANK="0"), starts.command(on, NODE_RANK="1", **other))

    for said in both:
        assert f"{package} 1.2.3 on rank " in said or "but 1.2.3 on rank " in said, said
        assert "install the same on every node" in said


@pytest.mark.slow
def test_a_lock_that_a_killed_build_left_does_not_hold_a_start_up(drill: Drill, starts: Starts) -> None:
    drill.promise("R20", "a stale lock in the extensions cache of a job")
    lock = starts.folder / "run" / "logs" / "train" / "extensions" / "py_cpu" / "fused_adam" / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    os.utime(lock, (0, 0))
    written = yaml.safe_load(starts.config.read_text())
    engine = {"kind": "deepspeed", "zero_stage": 1, "device": "cpu", "threads": 1}
    starts.config.write_text(yaml.safe_dump({**written, "engine": engine}))
    command = starts.command({"kind": "torchrun", "processes": 2})
    said, _ = command.communicate(timeout=240)

    assert command.returncode == 0, said
    assert not lock.exists()


@pytest.mark.slow
def test_the_doctor_tells_of_every_node(drill: Drill, starts: Starts) -> None:
    drill.promise("R20", "loglinear doctor --on: two healthy nodes; one with another version; a wrong name")
    on = nodes(f"127.0.0.1:{free_port()}")
    both = [starts.command(on, verb="doctor", NODE_RANK=f"{number}") for number in (0, 1)]
    for command in both:
        said, _ = command.communicate(timeout=240)
        for name in ("same versions", "clocks", "shared directory", "all-reduce"):
            assert f"ok       {name}" in said, said
        assert f"2 processes on 2: {socket.gethostname()}-" in said

    (said,) = starts.told(starts.command(nodes("no-such-node.invalid:1"), verb="doctor", NODE_RANK="0"))
    assert "does not resolve on this node" in said
