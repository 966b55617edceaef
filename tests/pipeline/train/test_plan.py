"""What a plan tells before anything is spent, and what is refused because it cannot fit."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from model.config import GPTConfig, parameters
from pipeline.config import load, validate
from pipeline.errors import ConfigError
from pipeline.train import stage
from pipeline.train.estimate import Hardware, Need, expected_mfu, largest_that, speed
from pipeline.train.fit import refuse
from pipeline.train.stage import Config
from pipeline.trainer.engines import ddp, deepspeed, fsdp2, single

CONFIGS = Path(__file__).parents[3] / "configs/train"
GB = 10**9
NEED = Need(
    model=GPTConfig(n_layer=12, n_head=12, n_embd=768),
    sequence_tokens=1024,
    rows=64,
    precision="bf16",
    device="cuda",
    documents=False,
    processes=8,
    staged=True,
)


def told(*overrides: str, config: str = "gpt2-117m") -> str:
    found = load(Config, CONFIGS / f"{config}.yaml", overrides)
    return stage.describe(found, stage.plan(found))


def test_the_plan_of_a_named_machine_tells_batches_flops_memory_hours_and_price():
    text = told("hardware.gpu=H100", "hardware.count=8", "hardware.price_per_gpu_hour=2.5")

    assert "124,439,808 parameters" in text
    assert "8 × 64 sequences in 2 passes of 32" in text
    for formula in ("6N_matmul + 6LdT", "6N", "6N_matmul + 12LdT"):
        assert f" a token by {formula}" in text
    assert "8 × H100 bf16 dense, 989 TFLOP/s by its data sheet" in text
    assert "GPU hours, 14.00 at 2.5 an hour each" in text
    assert "memory of one GPU: deepspeed ZeRO 1, processes: 8, 32 × 1,024 tokens a pass, bf16" in text
    assert "fits in 72.0 GB, 90% of 80 GB" in text
    for engine in ("ddp", "fsdp2, reshard off", "fsdp2, offload", *(f"deepspeed ZeRO {n}" for n in range(4))):
        assert f"\n  {engine} " in text


def test_without_a_machine_there_is_no_price_and_no_time_but_memory():
    text = told()

    assert "hours," not in text
    assert "memory of one GPU" in text
    assert "peak in GB by engine and sequences of a pass, processes: 8" in text


def test_an_engine_of_one_process_is_not_planned_for_eight():
    with pytest.raises(ConfigError, match=r"single is one process, hardware\.count is 8; use kind: ddp"):
        told("engine={kind: single}", "hardware.count=8")


def test_a_name_that_is_no_gpu_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match=r"H10: no such GPU.*H100"):
        told("hardware.gpu=H10")


def test_hours_are_flops_over_peak_and_assumed_share():
    found = speed(NEED.model, 1024, 10**18, "bf16", Hardware(gpu="A100-80GB", count=4, mfu=0.5))

    assert found is not None
    assert found.hours == pytest.approx(1e18 / (4 * 312e12 * 0.5) / 3600)
    assert found.price is None


def test_the_assumed_share_of_a_peak_lies_between_llmcs_two():
    assert expected_mfu(1) == pytest.approx(0.40)
    assert 0.40 < expected_mfu(774_030_080) < 0.48
    assert expected_mfu(10**12) == pytest.approx(0.48)


@pytest.mark.parametrize("most", [1, 2, 7, 64])
@pytest.mark.parametrize("limit", range(0, 70, 3))
def test_the_largest_that_fits_is_found(most, limit):
    assert largest_that(lambda size: size <= limit, most) == min(most, limit)


def test_sharding_more_needs_less_and_recomputing_needs_less():
    engines = [ddp.Config(), deepspeed.Config(zero_stage=1), fsdp2.Config(reshard=False), fsdp2.Config()]
    totals = [NEED.memory(engine, 4).total for engine in engines]

    assert totals == sorted(totals, reverse=True)
    recomputing = NEED.memory(fsdp2.Config(activation_checkpointing=True), 4)
    assert recomputing.total < totals[-1]


def test_what_is_offloaded_is_counted_beside_the_gpu():
    kept, away = (NEED.memory(fsdp2.Config(offload=offload), 4) for offload in (False, True))

    assert away.items["weights"] == away.items["optimizer"] == 0
    assert away.host_bytes - kept.host_bytes == pytest.approx(16 * 124_439_808 / 8, rel=0.001)


def test_a_run_that_cannot_fit_is_refused_with_its_largest_parts_and_what_would_fit():
    with pytest.raises(ConfigError) as refused:
        refuse(NEED, ddp.Config(), 64, 16 * GB)
    text = str(refused.value)

    assert "64 sequences of 1,024 tokens need" in text
    assert "largest parts: activations " in text
    fitting = int(text.partition("micro_batch_sequences=")[2].partition(",")[0])
    refuse(NEED, ddp.Config(), fitting, 16 * GB)
    with pytest.raises(ConfigError):
        refuse(NEED, ddp.Config(), fitting + 1, 16 * GB)


def test_where_nothing_fits_another_engine_is_advised():
    with pytest.raises(ConfigError, match="an engine that shards"):
        refuse(replace(NEED, staged=False), single.Config(), 1, 1 * GB)


def test_copies_for_a_checkpoint_are_memory_of_a_cpu():
    here = replace(NEED, device="cpu", processes=1)
    plain = 4 * 124_439_808

    assert here.memory(single.Config(), 1).items["checkpoint"] == 3 * plain
    waiting = replace(here, staged=False).memory(single.Config(), 1)
    assert waiting.moment == "checkpoint" or "checkpoint" not in waiting.items


def test_a_process_on_a_cpu_is_counted_with_what_its_engine_imports():
    here = replace(NEED, device="cpu")
    bare = {kind: engine.Config() for kind, engine in (("ddp", ddp), ("fsdp2", fsdp2), ("zero", deepspeed))}
    process = {kind: here.memory(engine, 1).items["process"] for kind, engine in bare.items()}

    assert 200 * 2**20 < process["ddp"] < process["fsdp2"] < process["zero"]
    assert "process" not in NEED.memory(ddp.Config(), 1).items  # on a GPU it is in the CPU's memory


def test_the_model_is_counted_whole_where_it_is_made_before_it_is_spread():
    shape = GPTConfig(n_layer=12, n_head=12, n_embd=768, vocab_size=1000)
    many = replace(NEED, model=shape, processes=64, rows=1, sequence_tokens=8, staged=False)
    memory = many.memory(fsdp2.Config(), 1)

    assert memory.moment == "making"
    assert memory.items["making"] == 4 * parameters(shape)


def test_train_refuses_before_it_writes_anything(values, tmp_path):
    config = validate(Config, {**values, "hardware": {"memory_gb": 1e-6}}, "test")

    with pytest.raises(ConfigError, match="GB are free for it"):
        stage.run(config, stage.plan(config))
    assert not config.out.exists()


def test_the_command_plans_without_torch(tmp_path):
    program = (
        "import sys; from pathlib import Path;"
        "from pipeline.config import load; from pipeline.train import stage;"
        "c = load(stage.Config, Path(sys.argv[1])); print(stage.describe(c, stage.plan(c)));"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(CONFIGS / "gpt2-762m.yaml")], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert "774,030,080" in done.stdout


def test_a_planned_machine_is_execution_and_leaves_the_identity(values):
    plain, planned = (
        validate(Config, {**values, **more}, "test") for more in ({}, {"hardware": {"gpu": "H200"}})
    )

    assert stage.plan(plain).config_hash == stage.plan(planned).config_hash
