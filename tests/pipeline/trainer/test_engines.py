"""One model, several engines, the same steps: ZeRO 0 to 3 on two processes against `single` on one."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline.config import Kind
from pipeline.errors import ConfigError, FormatError
from pipeline.trainer.engines import single
from tests.pipeline.trainer import tiny

ROOT = Path(__file__).parents[3]
STAGES = range(4)
SINGLE = single.Config(device="cpu", threads=1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_ranks(folder: Path, world_size: int) -> dict:
    """Start a group on gloo, one process a rank, and return what rank 0 found."""
    engine = tiny.build(SINGLE)
    tiny.take(engine, [0, 1])
    engine.save_state(folder / "single").wait()
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(world_size)}
    shared |= {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "LOCAL_WORLD_SIZE": str(world_size)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.pipeline.trainer.ranks", str(folder)],
            cwd=ROOT,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(world_size)
    ]
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * world_size, "\n".join(outputs)[-3000:]
    return json.loads((folder / "found.json").read_text())


@pytest.fixture(scope="session")
def group(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    return folder, run_ranks(folder, 2)


def close(found, expected, tolerance=1e-5):
    for got, want in zip(found, expected, strict=True):
        assert got[0] == pytest.approx(want[0], abs=tolerance), "loss"
        assert got[1] == pytest.approx(want[1], abs=tolerance), "grad norm"
        assert got[2:] == want[2:], "targets counted, step applied"


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize("stage", STAGES)
def test_zero_on_two_processes_takes_the_steps_of_one(group, stage, accumulation):
    expected = tiny.take(tiny.build(SINGLE), range(4), accumulation=accumulation)

    close(group[1][f"{stage}/{accumulation}"], expected)


@pytest.mark.parametrize("stage", STAGES)
def test_every_engine_skips_the_same_bad_steps_and_goes_on_alike(group, stage):
    objective = tiny.Faulty()
    expected = tiny.take_with_faults(tiny.build(SINGLE, objective), objective)
    found = group[1][f"{stage}/faults"]

    assert [row[3] for row in found] == [True, True, False, False, True, True]
    close([row for row in found if row[3]], [row for row in expected if row[3]])
    for got, want in zip(found, expected, strict=True):
        assert math.isfinite(got[0]) == math.isfinite(want[0])
        assert math.isfinite(got[1]) == math.isfinite(want[1]) == got[3]


@pytest.mark.parametrize("stage", STAGES)
def test_a_state_saved_by_single_goes_on_under_zero_and_back(group, stage):
    folder, found = group
    undisturbed = tiny.take(tiny.build(SINGLE), range(6))
    back = tiny.build(SINGLE)
    back.load_state(folder / f"zero-{stage}")

    close(found[f"{stage}/resumed"], undisturbed[2:4])
    close(tiny.take(back, [4, 5]), undisturbed[4:])


@pytest.mark.parametrize("stage", STAGES)
def test_a_state_saved_and_loaded_by_the_same_engine_continues_bitwise_even_with_dropout(group, stage):
    whole, halves = group[1][f"{stage}/bitwise"]

    assert halves == whole


@pytest.mark.parametrize("stage", STAGES)
def test_validation_over_two_processes_is_that_of_one(group, stage):
    folder, found = group
    engine = tiny.build(SINGLE)
    engine.load_state(folder / f"zero-{stage}")
    (loss,) = engine.loss(tiny.batches(9, 0, 1, 1)[0]).values()

    assert found[f"{stage}/validation"][0] == pytest.approx(loss.sum, rel=1e-5)
    assert found[f"{stage}/validation"][1] == loss.count


def test_bf16_products_stay_within_their_rounding(group):
    close(group[1]["bf16"], tiny.take(tiny.build(SINGLE, precision="bf16"), range(4)), tolerance=0.02)


@pytest.mark.slow
def test_zero_on_four_processes_takes_the_steps_of_one(tmp_path):
    found = run_ranks(tmp_path, 4)

    for stage in STAGES:
        close(found[f"{stage}/3"], tiny.take(tiny.build(SINGLE), range(4), accumulation=3))


def test_six_steps_equal_three_and_three_bitwise(tmp_path):
    whole = tiny.build(SINGLE, dropout=0.1)
    expected = tiny.take(whole, range(6))
    first = tiny.build(SINGLE, dropout=0.1)
    found = tiny.take(first, range(3))
    first.save_state(tmp_path).wait()
    second = tiny.build(SINGLE, dropout=0.1)
    second.load_state(tmp_path)

    assert found + tiny.take(second, range(3, 6)) == expected
    assert all(torch.equal(second.weights()[name], tensor) for name, tensor in whole.weights().items())


def test_accumulating_three_batches_is_one_step_on_all_their_targets():
    batches = tiny.batches(0, 0, 1, 3)
    together = type(batches[0])(
        torch.cat([batch.inputs for batch in batches]), torch.cat([batch.targets for batch in batches])
    )
    apart = tiny.build(SINGLE).train_step(batches, tiny.LR)
    at_once = tiny.build(SINGLE).train_step([together], tiny.LR)

    assert apart.loss == pytest.approx(at_once.loss, abs=1e-6)
    assert apart.grad_norm == pytest.approx(at_once.grad_norm, abs=1e-6)
    assert apart.targets == at_once.targets == int((together.targets != -100).sum())


def test_single_takes_the_steps_of_torchs_own_adamw_and_clip():
    # Keys' biases have no gradient but rounding, which a small eps would blow up to whole steps.
    engine = tiny.build(SINGLE, optim=tiny.AdamW(lr=tiny.LR, eps=1e-4))
    torch.manual_seed(0)
    network = tiny.GPT(tiny.SHAPE)
    matrices = [parameter for parameter in network.parameters() if parameter.ndim >= 2]
    others = [parameter for parameter in network.parameters() if parameter.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=tiny.LR, betas=(0.9, 0.95), eps=1e-4)
    for step in range(4):
        (batch,) = tiny.batches(step, 0, 1, 1)
        loss = network(batch.inputs, batch.targets) / (batch.targets != -100).sum()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        reference.step()
        reference.zero_grad()
        stats = engine.train_step([batch], tiny.LR)
        assert stats.loss == pytest.approx(float(loss.detach()), abs=1e-6)
        assert stats.grad_norm == pytest.approx(float(norm), abs=1e-6)

    for name, parameter in network.named_parameters():
        torch.testing.assert_close(engine.weights()[name], parameter.detach(), atol=1e-6, rtol=0)


def test_a_state_of_another_model_is_refused_by_the_parameter_that_differs(tmp_path):
    tiny.build(SINGLE).save_state(tmp_path).wait()
    torch.manual_seed(0)
    other = tiny.GPT(tiny.GPTConfig(**{**vars(tiny.SHAPE), "n_embd": 16}))
    engine = SINGLE.build(other, tiny.OPTIM, tiny.NextToken(), "fp32")

    with pytest.raises(FormatError, match=r"wte.weight has shape \(97, 32\), the model's is \(97, 16\)"):
        engine.load_state(tmp_path)


def test_single_refuses_a_job_of_several_processes(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")

    with pytest.raises(ConfigError, match="single is one process, this job has 2; use kind: deepspeed"):
        tiny.build(SINGLE)


def test_every_kind_loads_without_torch_and_has_a_config():
    names = Kind("pipeline.trainer.engines").names() + Kind("pipeline.trainer.trackers").names()
    code = "import sys; from pipeline.config import Kind\n"
    code += "for folder in ('engines', 'trackers'):\n"
    code += "    kind = Kind(f'pipeline.trainer.{folder}')\n"
    code += "    [kind.config(name)() for name in kind.names()]\n"
    code += "assert 'torch' not in sys.modules and 'wandb' not in sys.modules"

    assert set(names) >= {"single", "deepspeed", "jsonl", "wandb", "tensorboard"}
    subprocess.run([sys.executable, "-c", code], check=True)
