"""What a GPT learns from: the loss of the next token, from hidden states and the output matrix, chunk by
chunk.

The logits of a batch (B·T, V) are by far the largest tensor of a language model. Here they exist a few rows
at a time, in one buffer that on a CPU stays in cache, and their gradient is taken while they are there: the
forward pass knows everything that the backward pass would need. Only the gradients of the two factors are
kept, so no (B·T, V) tensor is ever written, and no product is computed twice.

Where the matrix is copied for the products anyway, to another precision or for a GPU, the copy has rows of
zeros up to a multiple of PADDED_TO ids. Nothing outside this file sees them: their logits are left out of the
softmax, and zero as they are they add nothing to a gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.kernels import calls as kernels

IGNORED = -100
"""The target that asks for no loss, as in PyTorch's own losses."""

# Logits of one chunk: what one core's level-2 cache holds; on a GPU, enough rows to keep it busy.
CHUNK_BYTES_CPU = 1 << 20
CHUNK_BYTES_GPU = 1 << 28
# Matrix products over fewer rows than this are slow on any machine.
CHUNK_ROWS_LEAST = 64
# Up to this hidden width the kernel is faster than PyTorch's products, which want deeper sums.
NARROW = 384
# A GPU's matrix products go by tiles of 128 columns, and want rows that begin on 128 bytes: 50,257 ids are
# multiplied as 50,304.
PADDED_TO = 128
# exp(70) times a million ids is far below fp32's largest number, exp(-70) far above its smallest normal one.
LOGIT_BOUND = 70.0


def next_token_loss(hidden: Tensor, weight: Tensor, targets: Tensor, shares: Tensor | None = None) -> Tensor:
    """Return the loss in nats summed over the targets that are not IGNORED, a scalar in fp32.

    `hidden` (..., C) and `weight` (V, C) are the factors of the logits, `targets` (...) holds ids. With
    `shares` (...) each target's loss is multiplied by its own before they are summed. The loss can be
    differentiated once.
    """
    loss_sum, _ = _losses(hidden, weight, targets, shares)
    return loss_sum


@torch.no_grad()
def token_losses(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Return the loss in nats of each target, 0 where it is IGNORED: (...) in fp32, without gradients."""
    _, losses = _losses(hidden, weight, targets)
    return losses.view(targets.shape)


def _losses(
    hidden: Tensor, weight: Tensor, targets: Tensor, shares: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the sum, which has gradients, and the loss of each row (N,), which has none."""
    device = hidden.device.type
    if torch.is_autocast_enabled(device):
        hidden = hidden.to(torch.get_autocast_dtype(device))
    wanted = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    with torch.autocast(device, enabled=False):
        rows = hidden.reshape(-1, hidden.shape[-1])  # (N, C)
        apply: Callable[..., tuple[Tensor, Tensor]] = _ChunkedCrossEntropy.apply
        return apply(
            rows, weight, targets.reshape(-1), None if shares is None else shares.reshape(-1), wanted
        )


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Cross-entropy of hidden (N, C) @ weight.T (C, V) with targets (N,), differentiated going forward.

    The products are in the precision of `hidden`. The gradient of a row's logits is softmax less the target's
    one. It is made undivided, as a numerator (n, V) over a total (n, 1): its rows are scaled where they are
    short, in the products with the hidden states and the weights, which saves a pass over the vocabulary.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        shares: Tensor | None,
        gradient_wanted: bool,
    ) -> tuple[Tensor, Tensor]:
        if shares is None and hidden.shape[1] <= NARROW and kernels.usable(hidden, weight):
            _check_ids(targets, len(weight))
            shift = not _exponentials_fit(hidden, weight)
            losses, ctx.gradients = kernels.cross_entropy(hidden, weight, targets, shift, gradient_wanted)
            ctx.mark_non_differentiable(losses)
            return losses.sum(), losses
        ids = len(weight)
        wide = torch.promote_types(hidden.dtype, torch.float32)
        matrix = _multiplied(weight, hidden.dtype)  # (V or more, C)
        counted = (targets != IGNORED).unsqueeze(1).to(wide)  # (N, 1)
        if shares is not None:
            counted *= shares.unsqueeze(1)
        places = targets.where(targets != IGNORED, 0).unsqueeze(1)
        losses, totals = torch.empty_like(counted), torch.empty_like(counted)
        hidden_gradient = torch.empty_like(hidden) if gradient_wanted else None
        weight_gradient = torch.empty_like(matrix, dtype=wide) if gradient_wanted else None
        rows = min(_chunk_rows(hidden, matrix), max(len(hidden), 1))
        buffer = hidden.new_empty(rows, len(matrix))
        shift = not _exponentials_fit(hidden, weight)
        differentiate = _differentiation(hidden.device.type)
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            chunk = hidden[part]
            logits = torch.mm(chunk, matrix.t(), out=buffer[: len(chunk)])
            losses[part], total = differentiate(logits[:, :ids], places[part], shift)
            if hidden_gradient is not None and weight_gradient is not None:
                totals[part] = total
                torch.mm(logits, matrix, out=hidden_gradient[part])
                scaled = (chunk * (counted[part] / total)).to(hidden.dtype)
                _add_product(weight_gradient, logits.t(), scaled, first=start == 0)
        if hidden_gradient is not None and weight_gradient is not None:
            hidden_gradient.mul_(counted / totals)
            ctx.gradients = hidden_gradient, _cut(weight_gradient, weight, empty=not len(hidden))
        losses = losses.where(counted != 0, 0).squeeze(1)
        ctx.mark_non_differentiable(losses)
        return (losses if shares is None else losses * counted.squeeze(1)).sum(), losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        if ctx.gradients is None:
            raise RuntimeError("the loss was differentiated before, and its gradients are given away")
        # They are scaled where they are and given away: a copy of the matrix's is not made.
        (hidden_gradient, weight_gradient), ctx.gradients = ctx.gradients, None
        return hidden_gradient.mul_(outer), weight_gradient.mul_(outer), None, None, None


def _differentiate(logits: Tensor, places: Tensor, shift: bool) -> tuple[Tensor, Tensor]:
    """Overwrite logits (n, V) with the numerator of their gradient; return losses and its total, (n, 1)."""
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    target_logits = wide.gather(1, places)
    if shift:
        largest = wide.amax(1, keepdim=True)
        wide = wide.sub_(largest)
        target_logits = target_logits - largest
    numerator = wide.exp_()
    total = numerator.sum(1, keepdim=True)
    numerator.scatter_add_(1, places, -total)
    if numerator.dtype != logits.dtype:
        logits.copy_(numerator)
    return total.log() - target_logits, total


@cache
def _differentiation(device: str) -> Callable[[Tensor, Tensor, bool], tuple[Tensor, Tensor]]:
    """Return `_differentiate` for a device: on a GPU as one kernel, else each of its passes is a memory's."""
    compiled = torch.compile(_differentiate) if device == "cuda" else _differentiate
    return cast(Callable[[Tensor, Tensor, bool], tuple[Tensor, Tensor]], compiled)


def _multiplied(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the matrix that is multiplied with: the weights, or a padded copy if there must be a copy."""
    if weight.dtype == dtype and weight.device.type != "cuda":
        return weight
    return _padded(weight, dtype)


def _padded(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a copy (V rounded up to PADDED_TO, C) of weight (V, C) with zeros below."""
    ids = len(weight)
    padded = weight.new_empty(-(-ids // PADDED_TO) * PADDED_TO, weight.shape[1], dtype=dtype)
    padded[:ids] = weight
    padded[ids:] = 0
    return padded


def _cut(gradient: Tensor, weight: Tensor, empty: bool) -> Tensor:
    """Return the gradient of the true ids in the weights' own precision."""
    cut = gradient[: len(weight)].to(weight.dtype)
    return cut.zero_() if empty else cut


def _check_ids(targets: Tensor, ids: int) -> None:
    """Raise RuntimeError, as PyTorch's operators do, for a target that is neither an id nor IGNORED."""
    wrong = targets[((targets < 0) | (targets >= ids)) & (targets != IGNORED)]
    if len(wrong):
        raise RuntimeError(f"target {int(wrong[0])} is out of bounds of a vocabulary of {ids}")


def _exponentials_fit(hidden: Tensor, weight: Tensor) -> bool:
    """Return whether no logit can leave fp32's exponentials, so that their largest need not be taken off.

    No logit exceeds the product of its factors' lengths (Cauchy and Schwarz). Two passes over the vocabulary
    are saved where that bound is low, as it is for narrow models; a GPU would have to be waited for.
    """
    if hidden.device.type != "cpu" or not hidden.numel():
        return False
    longest = torch.linalg.vector_norm(hidden, dim=1).amax() * torch.linalg.vector_norm(weight, dim=1).amax()
    return float(longest) < LOGIT_BOUND


def _add_product(total: Tensor, left: Tensor, right: Tensor, first: bool) -> None:
    """Add left @ right to a total that may be wider than its factors; the first makes it."""
    if total.dtype == left.dtype:
        total.addmm_(left, right, beta=0 if first else 1)
    elif first:
        total.copy_(torch.mm(left, right))
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
