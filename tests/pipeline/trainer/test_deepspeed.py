"""What only the `deepspeed` engine has: offload, overlap, and the traps around its start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from model.config import GPTConfig, parameters
from pipeline.config import validate
from pipeline.errors import ConfigError
from pipeline.trainer.engines import deepspeed
from tests.pipeline.trainer import tiny
from tests.pipeline.trainer.groups import ROOT, SINGLE, close, run_ranks

SHARDED = (1, 2, 3)


@pytest.fixture(scope="module")
def group(tmp_path_factory) -> tuple[Path, dict]:
    """Two processes, begun beside the state after two steps that `single` left there."""
    folder = tmp_path_factory.mktemp("deepspeed")
    engine = tiny.build(SINGLE)
    tiny.take(engine, [0, 1])
    engine.save_state(folder / "single").wait()
    run_ranks("tests.pipeline.trainer.deepspeed_ranks", [str(folder)], world_size=2)
    return folder, json.loads((folder / "found.json").read_text())


@pytest.mark.parametrize("stage", SHARDED)
def test_an_optimizer_on_the_cpu_takes_the_same_steps_to_the_same_weights(group, stage):
    folder, found = group
    engine = tiny.build(SINGLE)

    close(found[f"offload {stage}"]["steps"], tiny.take(engine, range(4), accumulation=3))
    weights = torch.load(folder / f"weights-offload {stage}")
    for name, tensor in engine.weights().items():
        torch.testing.assert_close(weights[name], tensor, atol=1e-5, rtol=0)


@pytest.mark.parametrize("stage", SHARDED)
def test_an_optimizer_on_the_cpu_skips_the_same_bad_steps(group, stage):
    objective = tiny.Faulty()
    expected = tiny.take_with_faults(tiny.build(SINGLE, objective), objective)
    rows = group[1][f"offload {stage}"]["faults"]

    assert [row[3] for row in rows] == tiny.APPLIED
    close([row for row in rows if row[3]], [row for row in expected if row[3]])
    close([rows[tiny.SPIKE]], [expected[tiny.SPIKE]])


@pytest.mark.parametrize("stage", SHARDED)
def test_an_optimizer_on_the_cpu_takes_over_a_state_and_hands_it_back(group, stage):
    folder, found = group
    undisturbed = tiny.take(tiny.build(SINGLE), range(6))
    back = tiny.build(SINGLE)
    back.load_state(folder / f"offload {stage}")

    close(found[f"offload {stage}"]["resumed"], undisturbed[2:4])
    close(tiny.take(back, [4, 5]), undisturbed[4:])


def test_zero_3_continues_bitwise_where_it_gathers_in_bf16_what_it_keeps_in_fp32(group):
    whole, halves = group[1]["bf16 resumed"]

    assert halves == whole


@pytest.mark.parametrize("stage", SHARDED)
def test_reducing_gradients_during_the_backward_pass_changes_no_step(group, stage):
    close(group[1][f"overlap {stage}"], tiny.take(tiny.build(SINGLE), range(4), accumulation=3))


@pytest.mark.parametrize("stage", [1, 3])
def test_deepspeed_does_not_turn_bf16_off_where_torch_says_that_autocast_is_on(group, stage):
    """DeepSpeed looks at CUDA's autocast: finding it on and its own off, it turns autocast off inside."""
    plainly, within = group[1][f"bf16 {stage}"]

    assert within == plainly
    assert plainly != tiny.take(tiny.build(SINGLE), [0])


def test_zero_0_refuses_to_offload_what_it_does_not_hold():
    with pytest.raises(
        ConfigError, match="offload: ZeRO 0 keeps a plain optimizer; use zero_stage: 1, 2 or 3"
    ):
        validate(deepspeed.Config, {"zero_stage": 0, "offload": True}, "test")


START = """
import torch
from tests.pipeline.trainer import tiny
from pipeline.trainer.engines import deepspeed
engine = tiny.build(deepspeed.Config(device="cpu", threads=1, zero_stage=3))
tiny.take(engine, [0])
engine.close()
"""


def test_it_starts_alone_and_silently_beside_the_lock_of_a_killed_build(tmp_path):
    """A lock in the folder where torch builds extensions by default would be waited for without end."""
    version = f"py{sys.version_info.major}{sys.version_info.minor}_cpu"
    for name in ("deepspeed_shm_comm", "utils"):
        folder = tmp_path / ".cache" / "torch_extensions" / version / name
        folder.mkdir(parents=True)
        (folder / "lock").touch()
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("TORCH_EXTENSIONS_DIR", "PYTHONWARNINGS")
    }
    told = subprocess.run(
        [sys.executable, "-c", START],
        env={**kept, "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    assert told.stdout + told.stderr == ""


COMPILED = """
import json
from tests.pipeline.trainer import tiny
from pipeline.trainer.engines import deepspeed
deepspeed.PERSISTENT_ELEMENTS = 0
rows = {}
for stage in (1, 3):
    config = deepspeed.Config(device="cpu", threads=1, zero_stage=stage, compile=True)
    rows[stage] = tiny.take(tiny.build(config), range(3), accumulation=3)
print(json.dumps(rows))
"""


@pytest.mark.slow
def test_compiled_blocks_take_the_same_steps_and_hold_no_hook_of_zero():
    """The compiler gives up, and says so, where it finds the hooks of every layer in a block."""
    told = subprocess.run(
        [sys.executable, "-c", COMPILED],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert "recompile_limit" not in told.stderr
    for rows in json.loads(told.stdout).values():
        close(rows, tiny.take(tiny.build(SINGLE), range(3), accumulation=3))


def test_no_two_attempts_of_a_job_share_a_folder_for_extensions(monkeypatch):
    first = deepspeed._extensions()
    assert deepspeed._extensions() == first, "the processes of one attempt do"

    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    second = deepspeed._extensions()
    monkeypatch.setattr(os, "getppid", os.getpid)
    third = deepspeed._extensions()

    assert len({first, second, third}) == 3


def test_a_model_with_an_odd_number_of_parameters_starts(tmp_path):
    odd = {"n_layer": 1, "n_head": 1, "n_embd": 3, "n_ctx": 8, "vocab_size": 16}
    request = {"model": odd, "sequences": 1, "sequence_tokens": 8, "kind": "deepspeed"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.pipeline.trainer.resident", str(tmp_path), json.dumps(request)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert parameters(GPTConfig(**odd)) % 2 == 1
    assert done.returncode == 0, done.stderr
