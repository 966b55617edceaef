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
# exp(70) times a million ids is far below fp32's largest number, exp(-70) far above its smallest normal one.
LOGIT_BOUND = 70.0


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
        counted = (targets != IGNORED).unsqueeze(1).to(wide)  # (N, 1)
        places = targets.where(targets != IGNORED, 0).unsqueeze(1)
        losses = torch.empty_like(counted)
        hidden_gradient = torch.empty_like(hidden) if gradient_wanted else None
        weight_gradient = torch.zeros_like(weight, dtype=wide) if gradient_wanted else None
        rows = min(_chunk_rows(hidden, weight), max(len(hidden), 1))
        buffer = hidden.new_empty(rows, len(weight))
        shift = not _exponentials_fit(hidden, weight)
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            chunk = hidden[part]
            logits = torch.mm(chunk, weight.t(), out=buffer[: len(chunk)]).to(wide)
            losses[part], numerator, total = _differentiate(logits, places[part], shift)
            if hidden_gradient is not None and weight_gradient is not None:
                scale = counted[part] / total
                numerator = numerator.to(hidden.dtype)
                torch.mm(numerator, weight, out=hidden_gradient[part])
                hidden_gradient[part].mul_(scale)
                _add_product(weight_gradient, numerator.t(), (chunk * scale).to(hidden.dtype))
        if weight_gradient is not None:
            ctx.save_for_backward(hidden_gradient, weight_gradient)
        losses = losses.where(counted > 0, 0).squeeze(1)
        ctx.mark_non_differentiable(losses)
        return losses.sum(), losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None, None]:
        hidden_gradient, weight_gradient = ctx.saved_tensors
        return hidden_gradient * outer, (weight_gradient * outer).to(hidden_gradient.dtype), None, None


def _differentiate(logits: Tensor, places: Tensor, shift: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Overwrite logits (n, V); return losses (n, 1) and their gradient as numerator (n, V) over total (n, 1).

    The gradient, softmax less the target's one, is left undivided: its rows are scaled where they are short,
    in the products with the hidden states and the weights, which saves a pass over the vocabulary.
    """
    target_logits = logits.gather(1, places)
    if shift:
        largest = logits.amax(1, keepdim=True)
        logits.sub_(largest)
        target_logits.sub_(largest)
    numerator = logits.exp_()
    total = numerator.sum(1, keepdim=True)
    losses = total.log() - target_logits
    return losses, numerator.scatter_add_(1, places, -total), total


def _exponentials_fit(hidden: Tensor, weight: Tensor) -> bool:
    """Return whether no logit can leave fp32's exponentials, so that their largest need not be taken off.

    No logit exceeds the product of its factors' lengths (Cauchy and Schwarz). Two passes over the vocabulary
    are saved where that bound is low, as it is for narrow models; a GPU would have to be waited for.
    """
    if hidden.device.type != "cpu" or not hidden.numel():
        return False
    longest = torch.linalg.vector_norm(hidden, dim=1).amax() * torch.linalg.vector_norm(weight, dim=1).amax()
    return float(longest) < LOGIT_BOUND


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
