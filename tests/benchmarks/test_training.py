"""The benchmarks of training: that contenders do the same work, and that figures follow from times."""

from __future__ import annotations

import pytest
import torch

from benchmarks import train_cpu, train_gpu
from benchmarks.training import budget
from benchmarks.training.contenders import Task, agree, contender
from benchmarks.training.shares import REST, kind_of
from benchmarks.training.turns import PRODUCT, Product, ratio, take_turns
from model.config import GPTConfig

TINY = GPTConfig(n_layer=2, n_head=2, n_embd=8, n_ctx=8, vocab_size=50)


def test_every_contender_takes_the_same_steps():
    pytest.importorskip("transformers")
    task = Task(config=TINY, sequences=3)
    steps = [contender(name, task) for name in ("ours", "plain", "transformers")]

    for _ in range(4):
        losses = [step() for step in steps]
        assert max(losses) - min(losses) < 1e-5


def test_contenders_that_differ_are_not_compared():
    with pytest.raises(RuntimeError, match="do not compute the same"):
        agree({"ours": 4.0, "plain": 4.1}, 1e-3)


def test_a_ratio_is_the_median_of_those_of_single_rounds():
    assert ratio([2.0, 30.0, 4.0], [1.0, 10.0, 1.0]) == 3.0


def test_work_takes_turns_and_short_work_is_repeated():
    order = []
    work = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}

    seconds = take_turns(work, rounds=2, clock="wall", least_seconds=0.0)

    assert order == ["a", "b", "a", "b"]
    assert [len(taken) for taken in seconds.values()] == [2, 2]


def test_figures_follow_from_the_seconds_of_rounds():
    task = Task(config=TINY, sequences=3)
    product = Product()
    product.flops = 2 * task.flops
    taken = {
        "plain": {"ours": [1.0, 1.0], "plain": [1.5, 1.5], PRODUCT: [1.0, 1.0]},
        "plain compiled": {"ours": [1.0, 1.0], "plain compiled": [1.2, 1.2], PRODUCT: [1.0, 1.0]},
    }

    row = {"ours": "ours"} | train_cpu.figures(task, "ours", product, taken)

    assert row["ratio"] == {"plain": 1.5, "plain compiled": 1.2}
    assert row["tokens_per_second"]["ours"] == 24
    assert row["flops_over_matrix_product"] == pytest.approx(0.5)
    told = train_cpu.verdict(row, train_cpu.SHAPES["w16"])
    assert "1.20 x the best of them, goal 1.25: MISSED" in told


@pytest.mark.parametrize(
    ("share", "told"), [(0.8, "MISSED"), (0.9, "met"), (2.3, "NOT MEASURED, the machine was busy")]
)
def test_a_share_above_the_product_is_no_measurement(share, told):
    row = {
        "ours": "ours",
        "ratio": {"plain": 1.0},
        "tokens_per_second": {"ours": 1.0},
        "flops": 1.0,
        "flops_over_matrix_product": share,
        "matrix_product": {"size": 768, "flops": 1.0},
    }

    assert train_cpu.verdict(row, train_cpu.SHAPES["124M"]).endswith(f"goal 85%: {told}")


def test_a_budget_s_parts_add_up_to_the_step_and_their_floors_to_the_formula():
    task = Task(config=TINY, sequences=3)

    lines = budget.budget(task, contender("ours", task), rounds=1, clock="process")

    whole, floor = lines.pop(budget.STEP)
    assert sum(seconds for seconds, _ in lines.values()) == pytest.approx(whole)
    assert sum(least for _, least in lines.values()) == pytest.approx(floor)
    assert sum(part.flops for part in budget.parts(task).values()) == task.flops


def test_mfu_is_by_the_formula_and_a_data_sheet_s_peak():
    # 0.798 GFLOP a token at T = 1,024, so 500,000 tokens a second are 399 TFLOP/s.
    found = train_gpu.mfu(train_gpu.SHAPES["117M"], 500_000, 989e12)

    assert found == pytest.approx(0.4034, abs=2e-4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="says so only where there is no GPU")
def test_without_a_gpu_the_gpu_s_benchmark_says_so(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["train_gpu"])

    train_gpu.main()

    assert capsys.readouterr().out == f"{train_gpu.NO_CUDA}\n"


@pytest.mark.parametrize("name", ["ours", "plain"])
def test_the_best_micro_batch_is_searched(name):
    asked = train_gpu.Try(
        shape="tiny", contender=name, engine="single", device="cpu", micro_batches=(1, 4), steps=2
    )

    speed = train_gpu.best(asked)

    assert speed is not None and speed.micro_batch_sequences in (1, 4)
    assert speed.tokens_per_second > 0 and speed.mfu is not None and speed.memory_bytes > 0
    assert f"{speed.micro_batch_sequences} sequences" in train_gpu.line(asked, speed)


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        ("aten::mm", "matrix products"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu_backward", "attention"),
        ("aten::_fused_adamw_", "optimizer"),
        ("aten::native_layer_norm_backward", "layer norms"),
        ("aten::view", REST),
    ],
)
def test_operators_are_told_by_kind(operator, kind):
    assert kind_of(operator) == kind
