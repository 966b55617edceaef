"""What a GPT learns from: the loss of the next token, from hidden states and the output matrix, chunk by
chunk.

The logits of a batch (B·T, V) are by far the largest tensor of a language model. Here they exist a few rows
at a time, in one buffer that on a CPU stays in cache, and their gradient is taken while they are there: the
forward pass knows everything that the backward pass would need. Only the gradients of the two factors are
kept, so no (B·T, V) tensor is ever written, and no product is computed twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

IGNORED = -100
"""The target that asks for no loss, as in PyTorch's own losses."""

# Logits of one chunk: what one core's level-2 cache holds; on a GPU, enough rows to keep it busy.
CHUNK_BYTES_CPU = 1 << 20
CHUNK_BYTES_GPU = 1 << 28
# Matrix products over fewer rows than this are slow on any machine.
CHUNK_ROWS_LEAST = 64


def next_token_loss(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Return the loss in nats summed over the targets that are not IGNORED, a scalar in fp32.

    `hidden` (..., C) and `weight` (V, C) are the factors of the logits, `targets` (...) holds ids.
    """
    loss_sum, _ = _losses(hidden, weight, targets)
    return loss_sum


@torch.no_grad()
def token_losses(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Return the loss in nats of each target, 0 where it is IGNORED: (...) in fp32, without gradients."""
    _, losses = _losses(hidden, weight, targets)
    return losses.view(targets.shape)


def _losses(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum, which has gradients, and the loss of each row (N,), which has none."""
    device = hidden.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        hidden, weight = hidden.to(dtype), weight.to(dtype)
    wanted = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    with torch.autocast(device, enabled=False):
        rows = hidden.reshape(-1, hidden.shape[-1])  # (N, C)
        apply: Callable[..., tuple[Tensor, Tensor]] = _ChunkedCrossEntropy.apply
        return apply(rows, weight, targets.reshape(-1), wanted)


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Cross-entropy of hidden (N, C) @ weight.T (C, V) with targets (N,), differentiated going forward."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, gradient_wanted: bool
    ) -> tuple[Tensor, Tensor]:
        wide = torch.promote_types(hidden.dtype, torch.float32)
        losses = hidden.new_empty(len(hidden), dtype=wide)
        hidden_gradient = torch.empty_like(hidden) if gradient_wanted else None
        weight_gradient = torch.zeros_like(weight, dtype=wide) if gradient_wanted else None
        rows = min(_chunk_rows(hidden, weight), len(hidden))
        buffer = hidden.new_empty(rows, len(weight))
        for start in range(0, len(hidden), max(rows, 1)):
            part = slice(start, start + rows)
            chunk = hidden[part]
            logits = torch.mm(chunk, weight.t(), out=buffer[: len(chunk)])
            losses[part], numerator, scale = _differentiate(logits.to(wide), targets[part], gradient_wanted)
            if hidden_gradient is not None and weight_gradient is not None:
                numerator = numerator.to(hidden.dtype)
                torch.mm(numerator, weight, out=hidden_gradient[part])
                hidden_gradient[part].mul_(scale)
                _add_product(weight_gradient, numerator.t(), (chunk * scale).to(hidden.dtype))
        if weight_gradient is not None:
            ctx.save_for_backward(hidden_gradient, weight_gradient)
        ctx.mark_non_differentiable(losses)
        return losses.sum(), losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None, None]:
        hidden_gradient, weight_gradient = ctx.saved_tensors
        return hidden_gradient * outer, (weight_gradient * outer).to(hidden_gradient.dtype), None, None


def _differentiate(logits: Tensor, targets: Tensor, gradient_wanted: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Overwrite logits (n, V); return losses (n,) and their gradient as numerator (n, V) and scale (n, 1).

    The gradient, softmax less the target's one, is left undivided: its rows are scaled where they are short,
    after the products with the hidden states and the weights, which saves a pass over the vocabulary.
    """
    counted = (targets != IGNORED).unsqueeze(1)
    targets = targets.unsqueeze(1).where(counted, 0)
    target_logits = logits.gather(1, targets)
    largest = logits.amax(1, keepdim=True)
    numerator = logits.sub_(largest).exp_()
    total = numerator.sum(1, keepdim=True)
    losses = (total.log() + largest - target_logits).where(counted, 0)
    if gradient_wanted:
        numerator.scatter_add_(1, targets, -total)
    return losses.squeeze(1), numerator, total.reciprocal().where(counted, 0)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left @ right to a total that may be wider than its factors."""
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total.add_(torch.mm(left, right))


def _chunk_rows(hidden: Tensor, weight: Tensor) -> int:
    """Return how many rows of logits are made at once.

    At least as many as the hidden width: each chunk reads the whole weight matrix, and a wide one leaves the
    cache.
    """
    chunk_bytes = CHUNK_BYTES_CPU if hidden.device.type == "cpu" else CHUNK_BYTES_GPU
    in_cache = chunk_bytes // (len(weight) * hidden.element_size())
    return max(in_cache, hidden.shape[1], CHUNK_ROWS_LEAST)
