"""The engine `single`, which test_parity.py holds the others to, and what all engines refuse."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from pipeline.config import Kind, kind_name
from pipeline.errors import ConfigError, FormatError
from pipeline.trainer import ddp as replicas
from pipeline.trainer.engines import ddp, fsdp2, single
from tests.pipeline.trainer import tiny
from tests.pipeline.trainer.cells import HERE
from tests.pipeline.trainer.groups import ROOT, SINGLE, close


def test_six_steps_equal_three_and_three_bitwise(tmp_path):
    whole = tiny.build(SINGLE, dropout=0.1)
    expected = tiny.take(whole, range(6))
    first = tiny.build(SINGLE, dropout=0.1)
    found = tiny.take(first, range(3))
    pending = first.save_state(tmp_path)
    tiny.take(first, range(3, 5))  # what is being written is a copy
    pending.wait()
    second = tiny.build(SINGLE, dropout=0.1)
    second.load_state(tmp_path)

    assert found + tiny.take(second, range(3, 6)) == expected
    assert all(torch.equal(second.weights()[name], tensor) for name, tensor in whole.weights().items())


def test_a_skipped_step_leaves_weights_moments_and_count_as_if_it_had_never_been():
    objective = tiny.Faulty()
    faulty = tiny.build(SINGLE, objective)
    tiny.take_with_faults(faulty, objective)
    undisturbed = tiny.build(SINGLE)
    for step, applied in enumerate(tiny.APPLIED):
        if applied:
            undisturbed.train_step(tiny.batches(step, 0, 1, 1), tiny.LR)

    assert all(torch.equal(faulty.weights()[name], tensor) for name, tensor in undisturbed.weights().items())


def test_a_norm_at_the_limit_is_applied_and_one_above_is_told_and_skipped():
    norm = tiny.take(tiny.build(SINGLE), [0])[0][1]
    below = float(torch.nextafter(torch.tensor(norm), torch.tensor(0.0)))

    at = tiny.build(SINGLE).train_step(tiny.batches(0, 0, 1, 1), tiny.LR, limit=norm)
    above = tiny.build(SINGLE).train_step(tiny.batches(0, 0, 1, 1), tiny.LR, limit=below)

    assert (at.applied, at.grad_norm) == (True, norm)
    assert (above.applied, above.grad_norm) == (False, norm)


@pytest.mark.parametrize("config", [SINGLE, ddp.Config(**HERE), fsdp2.Config(**HERE)], ids=kind_name)
def test_an_engine_alone_takes_the_same_steps_and_its_weights_are_copies(config, tmp_path):
    engine = tiny.build(config, objective := tiny.Faulty())
    rows = tiny.take_with_faults(engine, objective)
    weights = engine.weights()
    before = {name: tensor.clone() for name, tensor in weights.items()}
    reference = tiny.build(SINGLE, objective := tiny.Faulty())
    expected = tiny.take_with_faults(reference, objective)

    tiny.take(engine, [7])
    engine.close()

    assert [row[3] for row in rows] == tiny.APPLIED
    close([row for row in rows if row[3]], [row for row in expected if row[3]])
    for name, tensor in reference.weights().items():
        assert torch.equal(weights[name], before[name]), "training goes on in other memory"
        torch.testing.assert_close(before[name], tensor, atol=1e-6, rtol=0)


def test_a_model_with_recomputed_activations_takes_the_same_steps():
    recomputing = single.Config(activation_checkpointing=True, **HERE)

    assert tiny.take(tiny.build(recomputing, dropout=0.1), range(3)) == tiny.take(
        tiny.build(SINGLE, dropout=0.1), range(3)
    )


@pytest.mark.slow
@pytest.mark.parametrize("recomputing", [False, True])
# torch's compiler uses what torch has deprecated, and looks at the gradients of its inputs.
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_compiled_blocks_take_the_same_steps(recomputing):
    compiled = tiny.build(single.Config(compile=True, activation_checkpointing=recomputing, **HERE))

    close(tiny.take(compiled, range(3)), tiny.take(tiny.build(SINGLE), range(3)))


def test_gradients_are_summed_in_buckets_of_neighbours_the_last_parameters_first(monkeypatch):
    monkeypatch.setattr(replicas, "BUCKET_BYTES", 100)
    sizes = [10, 20, 200, 5]
    parameters = [torch.nn.Parameter(torch.zeros(size)) for size in sizes]
    parameters[3].requires_grad_(False)

    buckets = replicas.Sums(parameters).buckets

    assert [[parameter.numel() for parameter in bucket] for bucket in buckets] == [[200], [20], [10]]


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


@pytest.mark.parametrize("clip", [1.0, 0.0])
def test_single_takes_the_steps_of_torchs_own_adamw_and_clip(clip):
    engine = tiny.build(SINGLE, optim=tiny.AdamW(lr=tiny.LR, eps=1e-4, grad_clip=clip))
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
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), clip or torch.inf)
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

    with pytest.raises(ConfigError, match="single is one process, this job has 2; use kind: ddp"):
        tiny.build(SINGLE)


def test_fsdp2_refuses_replicas_that_do_not_divide_the_processes(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "6")

    with pytest.raises(
        ConfigError, match="replicas: 4 does not divide this job's 6 processes; use one of 1, 2, 3, 6"
    ):
        tiny.build(fsdp2.Config(replicas=4, **HERE))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("kind", [single, ddp, fsdp2])
def test_every_engine_refuses_a_gpu_that_is_not_there(kind):
    with pytest.raises(ConfigError, match="engine.device: cuda, but torch sees no GPU here; use device: cpu"):
        tiny.build(kind.Config(device="cuda"))


def test_single_takes_its_first_step_without_the_compiler_and_without_fsdp():
    code = "import sys; from tests.pipeline.trainer import groups, tiny\n"
    code += "tiny.take(tiny.build(groups.SINGLE), [0])\n"
    code += "heavy = {'torch._dynamo', 'torch._inductor', 'torch.distributed.fsdp'} & set(sys.modules)\n"
    code += "assert not heavy, heavy"

    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_every_kind_loads_without_torch_and_has_a_config():
    names = Kind("pipeline.trainer.engines").names() + Kind("pipeline.trainer.trackers").names()
    code = "import sys; from pipeline.config import Kind\n"
    code += "for folder in ('engines', 'trackers'):\n"
    code += "    kind = Kind(f'pipeline.trainer.{folder}')\n"
    code += "    [kind.config(name)() for name in kind.names()]\n"
    code += "assert 'torch' not in sys.modules and 'wandb' not in sys.modules"

    assert set(names) >= {"single", "ddp", "fsdp2", "deepspeed", "jsonl", "wandb", "tensorboard"}
    subprocess.run([sys.executable, "-c", code], check=True)
