"""Two nodes of this machine: network namespaces joined by a cable (veth); they share disks and clock."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from launch.environment import available_cpus

ROOT = Path(__file__).parents[2]
MOST_PATIENCE = 4.0
ENDPOINT_PORT = 29477  # of a namespace, where nobody else is


class Node:
    """One node; what runs in its namespace is its own, whoever started it."""

    def __init__(self, number: int):
        self.number = number
        self.namespace, self.cable = f"drill-{os.getpid()}-{number}", f"drill{number}"
        self.address = f"10.231.7.{number + 1}"
        self.commands: list[subprocess.Popen[bytes]] = []

    def start(self, config: Path, on: Path, **variables: str) -> subprocess.Popen[bytes]:
        """Start `loglinear train CONFIG --on ON` here; its words go to node-N.out beside the file."""
        within = ["nsenter", f"--net=/run/netns/{self.namespace}"]
        with self.said(config).open("ab") as output:
            command = subprocess.Popen(
                [*within, sys.executable, "-m", "pipeline", "train", str(config), "--on", str(on)],
                cwd=ROOT,
                env={**os.environ, "OMP_NUM_THREADS": "1", "NODE_RANK": str(self.number), **variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.commands.append(command)
        return command

    def said(self, config: Path) -> Path:
        return config.parent / f"node-{self.number}.out"

    def processes(self) -> list[int]:
        """Return what runs here, whatever its parents are."""
        ours = Path("/run/netns", self.namespace).stat().st_ino
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and (entry / "ns" / "net").stat().st_ino == ours:
                    found.append(int(entry.name))
        return found

    def kill(self) -> None:
        """End all that runs here without a word, as a power cut does."""
        while running := self.processes():
            for process in running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, 9)
            for command in self.commands:
                command.poll()


class Nodes:
    """Both nodes and their cable."""

    def __init__(self) -> None:
        self.all = (Node(0), Node(1))

    def cut(self) -> None:
        """Take the cable out: nothing that is sent arrives, and nobody is told."""
        for node in self.all:
            _ip("-n", node.namespace, "link", "set", node.cable, "down")

    def mend(self) -> None:
        for node in self.all:
            _ip("-n", node.namespace, "link", "set", node.cable, "up")

    def launcher(self, folder: Path, **more: object) -> Path:
        """Write the file for `--on`: torchrun, one process on each node, which meet at the first."""
        endpoint = f"{self.all[0].address}:{ENDPOINT_PORT}"
        values = {"kind": "torchrun", "nodes": 2, "processes": 1, "endpoint": endpoint, **more}
        file = folder / "nodes.yaml"
        file.write_text("".join(f"{key}: {value}\n" for key, value in values.items()))
        return file


@contextmanager
def two_nodes() -> Iterator[Nodes]:
    """Yield two nodes; at the end nothing of them is left. Skips where they cannot be made."""
    if os.geteuid() or not shutil.which("ip") or not shutil.which("nsenter"):
        pytest.skip("network namespaces want root, ip (iproute2) and nsenter (util-linux)")
    nodes = Nodes()
    try:
        try:
            _connect(*nodes.all)
        except subprocess.CalledProcessError as fault:
            pytest.skip(f"no network namespaces here: {fault.stderr.strip()}")
        yield nodes
    finally:
        for node in nodes.all:
            if Path("/run/netns", node.namespace).exists():
                node.kill()
                _ip("netns", "del", node.namespace)


def wait_until(holds: Callable[[], object], seconds: float, what: str) -> float:
    """Return after how many seconds something holds; fail where it takes longer."""
    begun = time.monotonic()
    while not holds():
        assert time.monotonic() - begun < seconds, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)
    return time.monotonic() - begun


def patience(seconds: float) -> float:
    """Return the seconds that a promise allows, and more where others keep this machine busy."""
    share = os.getloadavg()[0] / available_cpus()
    return seconds * min(max(share, 1.0), MOST_PATIENCE)


def _connect(first: Node, second: Node) -> None:
    for node in (first, second):
        _ip("netns", "add", node.namespace)
    peer = ("peer", "name", second.cable, "netns", second.namespace)
    _ip("-n", first.namespace, "link", "add", first.cable, "type", "veth", *peer)
    for node in (first, second):
        _ip("-n", node.namespace, "addr", "add", f"{node.address}/30", "dev", node.cable)
        for interface in ("lo", node.cable):
            _ip("-n", node.namespace, "link", "set", interface, "up")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
