"""Nothing of ours listens where others could reach it, unless that was asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipeline.quickstart import server
from tests.drills.commands import make_dataset, run_values, write_yaml
from tests.drills.started import start

ROOT = Path(__file__).parents[2]
WORDS = "listeners of a command and of all it starts"


def listening(process: int) -> set[str]:
    """Return the addresses at which a process, and all that it has started, accept connections."""
    found = set()
    for each in [psutil.Process(process), *psutil.Process(process).children(recursive=True)]:
        try:
            found |= {
                place.laddr.ip for place in each.net_connections("all") if place.status == psutil.CONN_LISTEN
            }
        except psutil.Error:
            continue
    return found


def test_a_listener_is_seen():
    import socket

    with socket.create_server(("0.0.0.0", 0)):
        assert "0.0.0.0" in listening(os.getpid())


def test_the_site_of_the_quickstart_is_served_on_loopback(tmp_path, drill):
    drill.promise("R17", WORDS)
    (tmp_path / "index.html").write_text("<p>x</p>")
    with server.start(tmp_path) as running:
        assert listening(running.pid) == {"127.0.0.1"}


@pytest.mark.slow
def test_a_job_of_several_processes_on_one_node_meets_on_loopback(tmp_path, drill):
    drill.promise("R17", WORDS)
    values = run_values(make_dataset(tmp_path / "data"), tmp_path / "run")
    values |= {"train_tokens": 64 * 1_000_000, "engine": {"kind": "ddp", "device": "cpu", "threads": 1}}
    values |= {"checkpoint": {"every_steps": 0}, "validation": {"every_steps": 0, "tokens": 64}}
    config = write_yaml(tmp_path / "c.yaml", values)
    words = ["train", str(config), "--on", str(ROOT / "configs/launch/torchrun.yaml")]
    plain = {name: value for name, value in os.environ.items() if name not in ("GLOO_SOCKET_IFNAME",)}

    job = start([sys.executable, "-m", "pipeline", *words], cwd=ROOT, env=plain, stderr=subprocess.DEVNULL)
    try:
        seen: set[str] = set()
        until = time.monotonic() + 120
        while not rows(tmp_path / "run") and time.monotonic() < until and job.poll() is None:
            seen |= listening(job.pid)
            time.sleep(0.05)
        assert rows(tmp_path / "run"), "no step was taken"
        seen |= listening(job.pid)
    finally:
        job.send_signal(signal.SIGTERM)
        job.wait(120)
    assert seen <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert seen, "the ranks met nowhere"
    assert job.returncode == 75


def rows(run: Path) -> int:
    path = run / "metrics.jsonl"
    return path.stat().st_size if path.is_file() else 0
