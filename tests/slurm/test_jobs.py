"""Jobs of `--on` a real Slurm, submitted and looked after as a user does it; `make test-slurm` runs them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.pipeline.train.conftest import dataset  # noqa: F401 - a fixture
from tests.slurm import cluster

ROOT = Path(__file__).parents[2]
STEPS = 400
# Where nine of ten seconds belong to others, a job takes a minute to start.
PATIENCE_SECONDS = 300

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module", autouse=True)
def slurm() -> Iterator[None]:
    with cluster.joined(nodes=2 if cluster.can_have_nodes() else 1):
        yield


@pytest.fixture(autouse=True)
def nothing_is_left_in_the_queue() -> Iterator[None]:
    yield
    asked("scancel", "--me")
    until(lambda: not asked("squeue", "--noheader"))


@pytest.fixture
def on(tmp_path: Path) -> Path:
    """A launch file: two processes of one node, and an hour of warning before a limit that is far away."""
    return written(tmp_path / "slurm.yaml", {**SLURM, "processes": 2})


SLURM = {"kind": "slurm", "partition": "tests", "time": "1:00:00", "warn_seconds": 60}


@pytest.fixture
def config(dataset: Path, tmp_path: Path) -> Path:  # noqa: F811 - the fixture
    """A run of many small steps with dropout, which a signal meets in the middle."""
    values = {
        "out": str(tmp_path / "run"),
        "data": str(dataset),
        "model": {"n_layer": 1, "n_head": 2, "n_embd": 16, "n_ctx": 16, "vocab_size": 300, "dropout": 0.1},
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


def data(config: Path) -> str:
    return str(yaml.safe_load(config.read_text())["data"])


def asked(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def loglinear(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def submitted(*words: object) -> str:
    """Submit a job and return its id."""
    done = loglinear(*words)
    assert done.returncode == 0, done.stderr
    found = re.search(r" is job (\d+)", done.stdout)
    assert found, done.stdout
    return found[1]


def until(is_true: Callable[[], object], what: Callable[[], str] = lambda: "") -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not is_true():
        assert time.monotonic() < end, f"not within {PATIENCE_SECONDS} s\n{what()}"
        time.sleep(0.2)


def state(job: str) -> str:
    """Return the state of a job in the queue, or nothing once it has left."""
    lines = asked("squeue", "--noheader", "--array", "--format=%i %T %R").splitlines()
    return next((line.split(" ", 1)[1] for line in lines if line.split()[0] == job), "")


def steps(run: Path) -> list[int]:
    path = run / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [row["step"] for row in rows if "loss" in row]


def end_of(run: Path, verb: str = "train") -> int:
    """Wait until a job has ended for good and return its exit code."""
    ended = run / "logs" / verb / "ended.json"
    until(ended.exists, lambda: "\n".join(path.read_text() for path in run.glob("logs/**/*.log")))
    return int(json.loads(ended.read_text())["exit_code"])


def start_now(job: str) -> None:
    """Spare a job the two minutes that Slurm lets pass before what was queued again."""
    until(lambda: state(job).startswith("PENDING"), lambda: state(job))
    asked("scontrol", "update", f"JobId={job}", "StartTime=now")


def weights(run: Path) -> bytes:
    return next(run.glob(f"checkpoints/step-{STEPS:08d}/model/model.safetensors")).read_bytes()


def test_a_preempted_job_saves_its_work_queues_itself_again_and_ends_bitwise_where_it_would_have(
    config: Path, on: Path, tmp_path: Path
) -> None:
    alone, run = tmp_path / "alone", tmp_path / "run"
    submitted("train", config, f"out={alone}", "--on", on)
    job = submitted("train", config, "--on", on)
    until(lambda: steps(run))
    told = loglinear("status", run).stdout
    assert f"train: slurm job {job}, RUNNING for " in told and "rank 0 of 2 on " in told

    asked("scancel", "--batch", "--signal=USR1", job)  # as before the time limit
    until(lambda: state(job).startswith("PENDING"), lambda: loglinear("status", run).stdout)
    assert 0 < len(steps(run)) < STEPS
    assert f"train: slurm job {job}, PENDING (BeginTime)" in loglinear("status", run).stdout
    refused = loglinear("train", config, "--on", on)
    assert refused.returncode == 1
    assert f"train is in the queue already, as job {job}" in refused.stderr

    start_now(job)
    assert end_of(run) == 0
    assert end_of(alone) == 0
    assert steps(run) == list(range(1, STEPS + 1))
    assert weights(run) == weights(alone)
    log = (run / "logs" / "train.log").read_text()
    assert f"job {job} starts\n" in log and f"job {job} starts, restart 1\n" in log


def test_a_turn_that_slurm_ends_itself_is_followed_by_the_next(
    config: Path, on: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    job = submitted("train", config, "checkpoint.every_steps=20", "--on", on)
    until(lambda: list(run.glob("checkpoints/step-*/meta.json")))

    asked("scontrol", "requeue", job)  # as for a preemption without grace
    start_now(job)

    assert end_of(run) == 0
    assert steps(run) == list(range(1, STEPS + 1))


def test_nodes_meet_at_the_first_one_and_all_are_asked_to_save(
    config: Path, tmp_path: Path, on: Path
) -> None:
    if not cluster.can_have_nodes():
        pytest.skip("cannot make namespaces here")
    run = tmp_path / "run"
    two = written(tmp_path / "two.yaml", {**SLURM, "nodes": 2})
    job = submitted("train", config, "--on", two)
    until(lambda: steps(run))
    asked("scancel", "--batch", "--signal=USR1", job)
    start_now(job)

    assert end_of(run) == 0
    assert steps(run) == list(range(1, STEPS + 1))
    nodes = {json.loads(path.read_text())["node"] for path in run.glob("logs/train/rank-*.json")}
    assert len(nodes) == 2


def test_a_cancelled_job_does_not_come_back(config: Path, on: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    job = submitted("train", config, "train_tokens=100_000_000", "--on", on)
    until(lambda: steps(run))

    asked("scancel", job)

    until(lambda: not state(job), lambda: state(job))
    assert not (run / "logs/train/ended.json").exists()
    assert submitted("train", config, "train_tokens=100_000_000", "--on", on) != job


def test_a_stopped_job_leaves_the_queue_with_its_work_saved(config: Path, on: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    job = submitted("train", config, "train_tokens=100_000_000", "--on", on)
    until(lambda: steps(run))

    done = loglinear("stop", run)

    assert done.stdout == f"{run}: train (job {job}) is asked to save its work and end\n"
    assert end_of(run) == 75
    until(lambda: not state(job))
    assert len(list(run.glob("checkpoints/*"))) == 1
    assert f"train: slurm job {job}, ended with exit code 75" in loglinear("status", run).stdout


def test_a_job_that_waits_is_taken_out_of_the_queue(config: Path, tmp_path: Path) -> None:
    later = written(tmp_path / "later.yaml", {**SLURM, "options": {"begin": "now+1hour"}})
    job = submitted("train", config, "engine.kind=single", "--on", later)
    assert state(job).startswith("PENDING")

    assert loglinear("stop", tmp_path / "run").returncode == 0

    until(lambda: not state(job))


def test_stages_follow_each_other_and_a_failed_one_takes_those_behind_it_along(
    config: Path, on: Path, tmp_path: Path
) -> None:
    from tests.pipeline.data.test_stage import prepared

    one, run, made = written(tmp_path / "one.yaml", SLURM), tmp_path / "run", tmp_path / "made"
    suite = written(
        tmp_path / "suite.yaml",
        {"suite": "s", "checkpoint": str(run), "data": data(config), "device": "cpu",
         "tasks": [{"kind": "held_out", "split": "validation"}]},
    )  # fmt: skip
    held = written(tmp_path / "held.yaml", {**SLURM, "options": {"begin": "now+1hour"}})
    first = submitted("data", prepared(made), "--on", held)
    second = submitted("train", config, "--on", on, "--after", made)
    third = submitted("evaluate", suite, "--on", one, "--after", run)
    assert [state(second), state(third)] == ["PENDING (Dependency)"] * 2

    asked("scontrol", "update", f"JobId={first}", "StartTime=now")
    assert end_of(made, "data") == 0
    assert (made / "manifest.json").exists()
    assert end_of(run) == 0
    assert end_of(run, "evaluate") == 0
    assert list(run.glob("results/*/s.json"))

    lost = tmp_path / "lost"
    first = submitted("train", config, f"out={lost}", "data=nowhere", "--on", held)
    second = submitted("evaluate", suite, f"checkpoint={lost}", "--on", one, "--after", first)
    asked("scontrol", "update", f"JobId={first}", "StartTime=now")
    assert end_of(lost) == 2
    until(lambda: not state(second))
    refused = loglinear("evaluate", suite, f"checkpoint={lost}", "--on", one, "--after", lost)
    assert refused.returncode == 2
    assert f"train (job {first}; its output is in " in refused.stderr


STUDY = """
out: {out}
data: {data}
train:
  model: {{n_layer: 1, n_head: 2, n_embd: 16, n_ctx: 16, vocab_size: 300}}
  optim: {{lr: 1.0e-2}}
  schedule: {{warmup_tokens: 512}}
  global_batch_tokens: 256
  train_tokens: 5120
  engine: {{kind: single, device: cpu, threads: 1}}
  validation: {{every_steps: 0, tokens: 256}}
  checkpoint: {{every_steps: 0}}
rungs:
  - {{name: a, model: {{n_layer: 1, n_head: 2, n_embd: 8}}, seeds: [0]}}
  - {{name: b, model: {{n_layer: 1, n_head: 2, n_embd: 16}}, seeds: [0]}}
arms: [{{name: x1, lr_factor: 1}}, {{name: x2, lr_factor: 2}}]
learning_rate: {{base: 0.01, base_width: 16}}
tokens: {{count: 5120}}
metric: validation.bits_per_byte
"""


def test_a_studys_runs_are_one_array_which_a_killed_study_takes_up_again(
    config: Path, tmp_path: Path
) -> None:
    out = tmp_path / "study"
    (tmp_path / "study.yaml").write_text(STUDY.format(out=out, data=data(config)))
    one = written(tmp_path / "one.yaml", {**SLURM, "at_once": 2})
    command = [sys.executable, "-m", "pipeline", "study", str(tmp_path / "study.yaml"), "--on", str(one)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, env=dict(os.environ)) as first:
        until(lambda: len(list(out.glob("logs/*/submitted.json"))) == 4)
        first.send_signal(signal.SIGKILL)
    before = {path: path.read_text() for path in out.glob("logs/*/submitted.json")}
    queue = asked("squeue", "--noheader", "--array", "--format=%i %T")
    assert len({line.partition("_")[0] for line in queue.splitlines()}) == 1
    assert queue.count("RUNNING") <= 2

    done = loglinear("study", tmp_path / "study.yaml", "--on", one)

    assert done.returncode == 0, done.stderr
    assert {path: path.read_text() for path in out.glob("logs/*/submitted.json")} == before
    assert (out / "verdict.json").exists()
    lines = loglinear("status", out).stdout.splitlines()
    assert sum(line.endswith("  done") for line in lines) == 4
