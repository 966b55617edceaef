"""Training by `loglinear train --on`, as a user starts it: real launchers, real processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.pipeline.train.conftest import dataset  # noqa: F401 - a fixture

ROOT = Path(__file__).parents[2]
STEPS = 250  # of about 10 ms: long enough for a signal to come in between
TORCHRUN = {"kind": "torchrun", "processes": 2}

pytestmark = pytest.mark.timeout(900)  # minutes for the slow ones where others use the machine


@pytest.fixture
def config(dataset: Path, tmp_path: Path) -> Path:  # noqa: F811 - the fixture
    """A run of many small steps, which a signal meets in the middle."""
    values = {
        "out": str(tmp_path / "run"),
        "data": str(dataset),
        "model": {"n_layer": 1, "n_head": 2, "n_embd": 16, "n_ctx": 16, "vocab_size": 300},
        "optim": {"lr": 1e-2},
        "schedule": {"warmup_tokens": 512},
        "global_batch_tokens": 256,
        "train_tokens": STEPS * 256,
        "micro_batch_sequences": 2,
        "engine": {"kind": "ddp", "device": "cpu"},
        "validation": {"every_steps": 0, "tokens": 256},
        "checkpoint": {"every_steps": 0},
        "log_every_steps": 1,
    }
    return written(tmp_path / "train.yaml", values)


def written(path: Path, values: dict[str, object]) -> Path:
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture(autouse=True)
def nothing_is_left_running() -> Iterator[None]:
    """End what a failed test has started: its ranks end with their command."""
    yield
    for command in _started:
        if command.poll() is None:
            command.kill()
            command.wait()
    _started.clear()


_started: list[subprocess.Popen[str]] = []


def start(config: Path, on: Path, node: int | None = None) -> subprocess.Popen[str]:
    environment = {**os.environ, **({} if node is None else {"NODE_RANK": str(node)})}
    command = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "train", str(config), "--on", str(on)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # as a shell does: what it starts in turn may have one of its own
    )
    _started.append(command)
    return command


def ended(command: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = command.communicate(timeout=200)
    return command.returncode, said


def rows(run: Path) -> list[dict[str, object]]:
    path = run / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def steps(run: Path) -> list[object]:
    return [row["step"] for row in rows(run) if "loss" in row]


def wait_for_a_step(run: Path, command: subprocess.Popen[str]) -> None:
    while not steps(run):
        assert command.poll() is None, ended(command)
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_training_stopped_on_one_node_goes_on_to_its_end_on_two(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = start(config, written(tmp_path / "one.yaml", TORCHRUN))
    wait_for_a_step(run, first)
    first.send_signal(signal.SIGTERM)
    code, said = ended(first)
    assert code == 75, said
    assert said.splitlines()[-1] == f"{run}: stopped, with what was done saved; the same command goes on"
    assert [len(list((run / "checkpoints").iterdir())), 0 < len(steps(run)) < STEPS] == [1, True]

    two = {**TORCHRUN, "processes": 1, "nodes": 2, "endpoint": f"127.0.0.1:{free_port()}"}
    nodes = [start(config, written(tmp_path / "two.yaml", two), node) for node in (0, 1)]
    for code, said in [ended(node) for node in nodes]:
        assert code == 0, said
    assert steps(run) == list(range(1, STEPS + 1))
    logs = {path.name for path in (run / "logs").iterdir()}
    names = [f"train.{socket.gethostname()}-{node}" for node in (0, 1)]
    assert logs == {
        "train",
        "train.yaml",
        "train.log",
        *(f"{n}{end}" for n in names for end in (".yaml", ".log")),
    }
    for rank in (0, 1):
        assert (run / "logs" / "train" / f"rank-{rank}.log").read_text().count(f"rank {rank} of 2 on ") == 2


def test_an_error_of_every_rank_is_told_once_with_its_exit_code(config: Path, tmp_path: Path) -> None:
    broken = {**yaml.safe_load(config.read_text()), "data": str(tmp_path / "nothing")}

    code, said = ended(start(written(config, broken), written(tmp_path / "one.yaml", TORCHRUN)))

    assert code == 2
    assert said.count("nothing") == 1, said
    assert "of 2 on " in said and "failed first (exit code 2)" in said
    assert "Traceback" not in said


def test_deepspeeds_launcher_starts_its_ranks_and_the_first_failing_one_is_told(
    config: Path, tmp_path: Path
) -> None:
    (tmp_path / "hosts").write_text("localhost slots=3\n")
    on = {"kind": "deepspeed", "hostfile": str(tmp_path / "hosts"), "exclude": ["localhost:1"]}
    broken = {**yaml.safe_load(config.read_text()), "data": str(tmp_path / "nothing")}

    code, said = ended(start(written(config, broken), written(tmp_path / "one.yaml", on)))

    assert code == 2
    assert "of 2 on " in said and "failed first (exit code 2)" in said
    assert {path.name for path in (tmp_path / "run/logs/train").glob("*.log")} == {"rank-0.log", "rank-1.log"}


@pytest.mark.slow
def test_training_by_deepspeeds_launcher_is_stopped_with_its_work_saved_and_goes_on_without_ssh(
    config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    (tmp_path / "hosts").write_text("localhost slots=2\n")
    on = {"kind": "deepspeed", "hostfile": str(tmp_path / "hosts"), "master_port": free_port()}
    first = start(config, written(tmp_path / "one.yaml", on))
    wait_for_a_step(run, first)
    first.send_signal(signal.SIGUSR1)
    code, said = ended(first)
    assert code == 75, said
    assert 0 < len(steps(run)) < STEPS

    (tmp_path / "hosts").write_text("node-0 slots=1\nnode-1 slots=1\n")
    two = {**on, "no_ssh": True, "master_address": "127.0.0.1", "master_port": free_port()}
    nodes = [start(config, written(tmp_path / "two.yaml", two), node) for node in (0, 1)]
    for code, said in [ended(node) for node in nodes]:
        assert code == 0, said
    assert steps(run) == list(range(1, STEPS + 1))


@pytest.mark.slow
def test_ctrl_c_reaches_the_command_alone_which_asks_its_job_once(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    alone = {**yaml.safe_load(config.read_text()), "engine": {"kind": "single", "device": "cpu"}}
    command = start(written(config, alone), written(tmp_path / "here.yaml", {"kind": "local", "threads": 1}))
    wait_for_a_step(run, command)
    os.killpg(command.pid, signal.SIGINT)

    code, said = ended(command)

    assert code == 75, said
    assert len(list((run / "checkpoints").iterdir())) == 1
    assert said.count("stopped") == 1, said


FAILS = """import signal
def fail(*_):
    raise RuntimeError("the disk of this node is on fire")
signal.signal(signal.SIGUSR2, fail)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "cause"),
    [(signal.SIGKILL, "without a word: killed"), (signal.SIGUSR2, "RuntimeError: the disk of this node")],
)
def test_a_rank_that_fails_in_the_middle_of_training_is_told_by_name(
    number: signal.Signals, cause: str, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    (tmp_path / "sitecustomize.py").write_text(FAILS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    command = start(config, written(tmp_path / "one.yaml", TORCHRUN))
    wait_for_a_step(run, command)
    os.kill(json.loads((run / "logs" / "train" / "rank-1.json").read_text())["pid"], number)

    code, said = ended(command)

    assert code == 1
    assert "rank 1 of 2 on " in said.splitlines()[-1], said
    assert cause in said
    assert "onnection" not in said, said


@pytest.mark.slow
def test_processes_of_which_one_was_killed_start_again_from_the_last_checkpoint(
    config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    values = {**yaml.safe_load(config.read_text()), "checkpoint": {"every_steps": 10}}
    command = start(written(config, values), written(tmp_path / "one.yaml", {**TORCHRUN, "restarts": 1}))
    while not list((run / "checkpoints").glob("step-*")):
        assert command.poll() is None, ended(command)
        time.sleep(0.02)
    os.kill(json.loads((run / "logs" / "train" / "rank-1.json").read_text())["pid"], signal.SIGKILL)

    code, said = ended(command)

    assert code == 0, said
    assert steps(run) == list(range(1, STEPS + 1))
    assert [row for row in rows(run) if row.get("event") == "resumed"]


REMOTE = """#!{python}
# Stands in for pdsh, or ssh: runs the command of every host here, in a shell and an environment of its own.
import subprocess, sys
words = sys.argv[1:]
hosts = ["here"]
if "-w" in words:
    hosts, words = words[words.index("-w") + 1].split(","), words[words.index("-w") + 2 :]
else:
    words = words[-1:] if words[-1] != "-I" else ["echo", "127.0.0.1"]
    words = words if words[0] == "echo" else ["true"]
command = " ".join(words).replace("%%", chr(0))
environment = {{"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}}
started = [
    subprocess.Popen(["sh", "-c", command.replace("%n", str(n)).replace(chr(0), "%")], env=environment)
    for n, _ in enumerate(hosts)
]
sys.exit(max(process.wait() for process in started))
"""


@pytest.mark.slow
def test_deepspeeds_launcher_reaches_the_nodes_of_a_hostfile_with_what_they_need(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pdsh", "ssh"):
        tool = tmp_path / "bin" / name
        tool.parent.mkdir(exist_ok=True)
        tool.write_text(REMOTE.format(python=sys.executable))
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("WANDB_API_KEY", "planted-secret")
    monkeypatch.setenv("HF_ODD", 'a "b" $c 100%')
    (tmp_path / "hosts").write_text("node-0 slots=1\nnode-1 slots=1\n")
    on = {"kind": "deepspeed", "hostfile": str(tmp_path / "hosts"), "master_port": free_port()}

    code, said = ended(start(config, written(tmp_path / "one.yaml", on)))

    assert code == 0, said
    assert steps(tmp_path / "run") == list(range(1, STEPS + 1))
    logs = tmp_path / "run" / "logs"
    assert {path.name for path in (logs / "train").glob("*.log")} == {"rank-0.log", "rank-1.log"}
    assert not [path for path in logs.rglob("*") if path.is_file() and b"planted-secret" in path.read_bytes()]
