"""One evaluation by several processes: the same bits as by one, and gone on with after a real kill."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from pipeline.config import dump, validate
from pipeline.errors import ConfigError
from pipeline.evaluate import stage
from pipeline.formats.results import Results, read_records
from tests.pipeline.trainer.groups import ROOT, free_port, run_ranks

TASKS = [
    {"kind": "held_out", "split": "test"},
    {"kind": "last_word", "split": "test", "words": 20},
    {"kind": "samples", "split": "test", "prompt_tokens": 8, "max_new_tokens": 40, "unconditional": 12},
]
PATIENCE_SECONDS = 60.0


@pytest.fixture
def one_thread():
    """As many threads as each of the other processes has: more would add in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def config(run, dataset, out, **values):
    given = {"checkpoint": str(run), "data": str(dataset), "suite": "all", "tasks": TASKS, "device": "cpu"}
    return validate(stage.Config, {**given, "out": str(out), "batch_tokens": 128, **values}, "test")


def written(asked, folder: Path) -> Path:
    path = folder / "config.yaml"
    path.write_text(dump(asked))
    return path


def evaluate(asked):
    return stage.run(asked, stage.plan(asked))


def left_in(folder):
    figures = Results.read(folder / "all.json").results
    return figures, {task: read_records(folder / f"{task}.jsonl.zst") for task in ("held_out", "samples")}


def test_two_processes_leave_bitwise_what_one_leaves(run, dataset, tmp_path, one_thread):
    asked = config(run, dataset, tmp_path / "two")
    run_ranks("pipeline", ["evaluate", str(written(asked, tmp_path))], 2)

    evaluate(config(run, dataset, tmp_path / "one"))

    assert left_in(tmp_path / "two") == left_in(tmp_path / "one")


def ranks(path: Path, count: int) -> list[subprocess.Popen]:
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(count)}
    return [
        subprocess.Popen(
            [sys.executable, "-m", "pipeline", "evaluate", str(path)],
            cwd=ROOT,
            env={**os.environ, **shared, "OMP_NUM_THREADS": "1", "RANK": str(n), "LOCAL_RANK": str(n)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for n in range(count)
    ]


@pytest.mark.slow
def test_killed_processes_are_gone_on_with_by_one(run, dataset, tmp_path, one_thread, caplog):
    many = [*TASKS[:2], {**TASKS[2], "unconditional": 40}]
    asked = config(run, dataset, tmp_path / "killed", tasks=many)
    first, second = ranks(written(asked, tmp_path), 2)
    until = time.monotonic() + PATIENCE_SECONDS
    under_way = tmp_path / "killed" / ".all.partial"
    while not list(under_way.glob("samples-*")) and first.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    first.kill()

    assert first.wait() == -9 and second.wait(PATIENCE_SECONDS) != 0
    assert not (tmp_path / "killed" / "all.json").exists()

    caplog.set_level("INFO", "loglinear")
    evaluate(asked)
    evaluate(config(run, dataset, tmp_path / "whole", tasks=many))

    assert left_in(tmp_path / "killed") == left_in(tmp_path / "whole")
    assert "held_out: 21 of 21 examples were done before" in caplog.text
    assert "samples: 0 of" not in caplog.text and "of 44 examples were done before" in caplog.text
    assert not under_way.exists()


@pytest.mark.slow
def test_a_fault_of_the_first_process_ends_the_others_with_it(run, tmp_path):
    asked = config(run, tmp_path / "none", tmp_path / "out")
    first, second = ranks(written(asked, tmp_path), 2)

    assert (first.wait(PATIENCE_SECONDS), second.wait(PATIENCE_SECONDS)) == (ConfigError.exit_code, 0)
