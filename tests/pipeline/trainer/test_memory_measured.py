"""The memory formulas against real steps: resident memory on a CPU, allocated memory on a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import psutil
import pytest
import torch

from model.config import GPTConfig
from pipeline.trainer import sharding
from pipeline.trainer.engines import deepspeed, single
from pipeline.trainer.memory import Pass, peak_memory

GIB = 2**30
MIDDLE = {"n_layer": 4, "n_head": 8, "n_embd": 512, "vocab_size": 8192, "n_ctx": 256}
GPT2_762M = {"n_layer": 36, "n_head": 20, "n_embd": 1280}


def measured_bytes(**request) -> int:
    """Return what a step took in a process of its own, beyond what its imports did."""
    told = subprocess.run(
        [sys.executable, "-m", "tests.pipeline.trainer.resident", json.dumps(request)],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(told.stdout.splitlines()[-1])["bytes"]


def predicted_bytes(model: dict, sequences: int, sequence_tokens: int, engine: Any = None, **options) -> int:
    run = Pass(
        model=GPTConfig(**model),
        sequences=sequences,
        sequence_tokens=sequence_tokens,
        device="cpu",
        **options,
    )
    return peak_memory(run, sharding.held(engine or single.Config(), run, 1)).total


def test_a_real_step_on_a_cpu_takes_what_was_predicted():
    measured = measured_bytes(model=MIDDLE, sequences=8, sequence_tokens=256)

    assert predicted_bytes(MIDDLE, 8, 256) == pytest.approx(measured, rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_so_does_a_step_under_zero_whose_flat_gradients_lie_beside_what_the_heap_keeps(stage):
    settings = {"zero_stage": stage}
    measured = measured_bytes(
        model=MIDDLE, sequences=8, sequence_tokens=256, steps=3, kind="deepspeed", settings=settings
    )
    engine = deepspeed.Config(**settings)

    assert predicted_bytes(MIDDLE, 8, 256, engine) == pytest.approx(measured, rel=0.15)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(psutil.virtual_memory().available < 18 * GIB, reason="a step at 762M needs 18 GiB")
def test_a_real_step_at_762m_takes_less_than_20_gb_and_what_was_predicted():
    window = {"sequences": 1, "sequence_tokens": 1024, "checkpointing": True}
    measured = measured_bytes(model=GPT2_762M, steps=1, **window)

    assert measured < 20e9
    assert predicted_bytes(GPT2_762M, **window) == pytest.approx(measured, rel=0.15)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_real_step_on_a_gpu_allocates_what_was_predicted(precision, checkpointing):
    from model.transformer import GPT
    from pipeline.trainer.engine import Batch, NextToken
    from pipeline.trainer.optim import AdamW

    shape = GPTConfig(n_layer=12, n_head=12, n_embd=768)
    config = single.Config(device="cuda", activation_checkpointing=checkpointing)
    engine = config.build(GPT(shape), AdamW(lr=1e-4), NextToken(), precision)
    ids = torch.zeros(8, 1024, dtype=torch.int64)
    engine.train_step([Batch(ids, ids)], lr=1e-4)
    torch.cuda.reset_peak_memory_stats()
    engine.train_step([Batch(ids, ids)], lr=1e-4)
    run = Pass(
        model=shape, sequences=8, sequence_tokens=1024, precision=precision, checkpointing=checkpointing
    )

    predicted = peak_memory(run, sharding.held(config, run, 1)).total
    assert predicted == pytest.approx(torch.cuda.max_memory_allocated(), rel=0.15)
