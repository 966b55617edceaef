"""What the parts of a step on a CPU take alone, beside what the same arithmetic takes at the machine's best.

A floor is FLOPs at the speed of the matrix product measured in the same rounds, one exponential for each
logit and two for each value of GELU at the speed that torch has on a row in cache, and bytes at the speed of
a copy of all parameters. What is above the floors is shapes that products are slow at, passes over memory,
dispatch and autograd.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from benchmarks.training.contenders import OPTIM, Task
from benchmarks.training.turns import Clock, Product, take_turns
from model import operators
from model.config import parameters
from model.heads import next_token_loss
from pipeline.trainer.optim import FusedAdamW

STEP, REST = "the whole step", "between the parts (dispatch, autograd, residuals, embeddings)"
PRODUCT, EXPONENTIALS, COPY = "product", "exponentials", "copy"
EXPONENTIALS_AT_ONCE = 1 << 14


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a step: its work forward and backward, how often, and what its arithmetic is made of."""

    work: Callable[[], object]
    times: int = 1
    flops: float = 0.0
    exponentials: float = 0.0
    floats_moved: float = 0.0


def budget(
    task: Task, step: Callable[[], object], rounds: int, clock: Clock
) -> dict[str, tuple[float, float]]:
    """Return the seconds of each part of a step, as measured and its floor."""
    found, product = parts(task), Product()
    row, source = torch.zeros(EXPONENTIALS_AT_ONCE), torch.ones(parameters(task.config))
    raised, target = torch.empty_like(row), torch.empty_like(source)
    work: dict[str, Callable[[], object]] = {name: part.work for name, part in found.items()}
    work |= {STEP: step, PRODUCT: product, EXPONENTIALS: lambda: torch.exp(row, out=raised)}
    work[COPY] = lambda: target.copy_(source)
    taken = {name: statistics.median(s) for name, s in take_turns(work, rounds, clock, 0.05).items()}
    per_flop, per_float = taken[PRODUCT] / product.flops, taken[COPY] / (2 * len(source))
    per_exponential = taken[EXPONENTIALS] / len(row)
    lines = {
        name: (
            part.times * taken[name],
            part.flops * per_flop + part.exponentials * per_exponential + part.floats_moved * per_float,
        )
        for name, part in found.items()
    }
    lines[REST] = taken[STEP] - sum(seconds for seconds, _ in lines.values()), 0.0
    lines[STEP] = taken[STEP], sum(floor for _, floor in lines.values())
    return lines


def parts(task: Task) -> dict[str, Part]:
    """Return a step's parts at the task's shapes."""
    config, tokens = task.config, task.tokens
    L, C, T, V = config.n_layer, config.n_embd, config.n_ctx, config.vocab_size  # noqa: N806 - as in model/
    x, wide = torch.randn(tokens, C), torch.randn(tokens, 4 * C)
    qkv = torch.randn(task.sequences, T, 3 * C)
    layers = [nn.Linear(*shape) for shape in ((C, 3 * C), (C, C), (C, 4 * C), (4 * C, C))]
    matrix, targets = 0.02 * torch.randn(V, C), torch.randint(0, V, (tokens,))
    head = _there_and_back(lambda h, m: next_token_loss(h, m, targets), x, matrix)
    norm, inputs = nn.LayerNorm(C), [wide if layer.in_features > C else x for layer in layers]
    products = [
        _there_and_back(F.linear, given, layer.weight.detach(), torch.zeros(layer.out_features))
        for given, layer in zip(inputs, layers, strict=True)
    ]
    gelu = _there_and_back(operators.gelu, wide)
    attention = _there_and_back(lambda each: operators.causal_attention(each, config.n_head), qkv)
    normed = _there_and_back(lambda h, w, b: F.layer_norm(h, (C,), w, b), x, norm.weight, norm.bias)
    return {
        "head": Part(work=head, flops=6.0 * tokens * V * C, exponentials=float(tokens * V)),
        "products of the blocks": Part(
            work=lambda: [work() for work in products], times=L, flops=6.0 * tokens * 12 * C * C * L
        ),
        "attention": Part(work=attention, times=L, flops=6.0 * tokens * L * C * T),
        "GELU": Part(work=gelu, times=L, exponentials=8.0 * tokens * C * L),
        # Read and written forward; read twice and written backward.
        "layer norms": Part(work=normed, times=2 * L + 1, floats_moved=5.0 * tokens * C * (2 * L + 1)),
        # The norm reads the gradients; the update reads four tensors and writes three.
        "optimizer, norm and clip": Part(work=_update(task), floats_moved=8.0 * parameters(config)),
    }


def table(lines: Mapping[str, tuple[float, float]]) -> str:
    """Return a budget as lines for people."""
    rows = [
        f"    {taken * 1e3:9.2f} ms, floor {floor * 1e3:9.2f}  {name}"
        for name, (taken, floor) in lines.items()
    ]
    return "\n".join(rows)


def _there_and_back(function: Callable[..., Tensor], *given: Tensor) -> Callable[[], object]:
    """Return a part's forward and backward pass, with the gradients of all that it is given."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in given]
    outer = torch.ones_like(function(*leaves))
    return lambda: torch.autograd.grad(function(*leaves), leaves, outer)


def _update(task: Task) -> Callable[[], object]:
    """Return our norm, clip and update, on gradients that the clip leaves as they are."""
    tensors = {name: parameter.detach() for name, parameter in task.network().named_parameters()}
    gradients = {name: torch.full_like(tensor, 1e-6) for name, tensor in tensors.items()}
    optimizer, good = FusedAdamW(tensors, OPTIM), torch.ones(())

    def update() -> None:
        optimizer.step(OPTIM.lr, gradients, nn.utils.get_total_norm(gradients.values()), good)

    return update
