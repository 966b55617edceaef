"""The memory formulas against what autograd keeps and against torch's own tracker, for one process."""

from __future__ import annotations

import itertools

import pytest
import torch

from model import heads
from model.config import GPTConfig
from pipeline.trainer import memory, sharding
from pipeline.trainer.engines import single
from pipeline.trainer.memory import Pass, at_each_moment
from tests.pipeline.trainer.tracked import bytes_kept_for_backward, tracked_step

SHAPE = {"n_head": 4, "n_embd": 64, "n_ctx": 32, "vocab_size": 211}


def a_pass(layers: int, architecture: str = "gpt2", dropout: float = 0.0, **options) -> Pass:
    shape = GPTConfig(n_layer=layers, architecture=architecture, dropout=dropout, **SHAPE)
    return Pass(model=shape, sequences=3, sequence_tokens=32, device="cpu", **options)


@pytest.mark.parametrize(
    ("architecture", "precision", "dropout", "documents"),
    list(itertools.product(("gpt2", "gpt1"), ("fp32", "bf16"), (0.0, 0.1), (False, True))),
)
def test_a_block_keeps_to_the_byte_what_autograd_saves(architecture, precision, dropout, documents):
    runs = [a_pass(n, architecture, dropout, precision=precision, documents=documents) for n in (1, 2)]
    one, two = (bytes_kept_for_backward(run) for run in runs)
    d = SHAPE["n_embd"]
    products = 12 * d * d * memory.BF16 if precision == "bf16" else 0  # biases are added, not multiplied with

    assert two - one == memory.block_activations(runs[0]) + products


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_checkpointed_block_keeps_its_input_alone(dropout):
    runs = [a_pass(layers, dropout=dropout, checkpointing=True) for layers in (1, 2)]
    one, two = (bytes_kept_for_backward(run) for run in runs)

    assert two - one == memory.kept_per_block(runs[0]) == 4 * 3 * 32 * SHAPE["n_embd"]


# The moments of a step are different ones' peaks: many positions, a large vocabulary, many weights.
SHAPES = {
    "positions": (GPTConfig(n_layer=3, n_head=4, n_embd=256, n_ctx=256, vocab_size=512), 4),
    "vocabulary": (GPTConfig(n_layer=2, n_head=4, n_embd=128, n_ctx=128, vocab_size=30_000), 4),
    "weights": (GPTConfig(n_layer=4, n_head=4, n_embd=512, n_ctx=64, vocab_size=512), 1),
    "dropout": (
        GPTConfig(
            architecture="gpt1", n_layer=2, n_head=4, n_embd=128, vocab_size=9000, n_ctx=128, dropout=0.1
        ),
        4,
    ),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(
    ("precision", "checkpointing", "accumulates"),
    [("fp32", False, False), ("fp32", True, False), ("fp32", False, True), ("bf16", False, False)],
)
def test_the_predicted_peak_of_a_step_is_what_torchs_tracker_sees(
    name, precision, checkpointing, accumulates
):
    shape, sequences = SHAPES[name]
    run = Pass(
        model=shape,
        sequences=sequences,
        sequence_tokens=shape.n_ctx,
        device="cpu",
        precision=precision,
        checkpointing=checkpointing,
        accumulates=accumulates,
    )
    moments = at_each_moment(run, sharding.held(single.Config(), run, 1))
    predicted, seen = max(moments, key=lambda moment: moment.tensors), tracked_step(run)

    assert predicted.tensors == pytest.approx(seen["Total"], rel=0.05)
    assert predicted.items["weights"] == pytest.approx(seen["Parameter"], rel=0.001)
    assert predicted.items["optimizer"] == pytest.approx(seen["Optstate"], rel=0.001)


def test_the_planner_knows_the_heads_chunks():
    shape = GPTConfig(n_layer=1, **SHAPE)
    run = Pass(model=shape, sequences=64, sequence_tokens=32, device="cpu")
    hidden, weight = torch.empty(64 * 32, shape.n_embd), torch.empty(shape.vocab_size, shape.n_embd)

    assert memory.chunk_rows(run) == heads._chunk_rows(hidden, weight)
    assert memory.CHUNK_BYTES == {"cpu": heads.CHUNK_BYTES_CPU, "cuda": heads.CHUNK_BYTES_GPU}
    assert memory.NARROW == heads.NARROW
