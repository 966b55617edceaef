"""Differentiable operators, by kernels for CPUs where those serve and by PyTorch's own elsewhere.

Each gives what its PyTorch operators give, but for rounding, and keeps for the backward pass what they keep.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from model.kernels import calls as kernels


def gelu(x: Tensor) -> Tensor:
    """Return GELU's tanh approximation of x (...)."""
    return _gelu(x) if kernels.usable(x) else F.gelu(x, approximate="tanh")


def causal_attention(qkv: Tensor, n_head: int) -> Tensor:
    """Return what the H heads of each position gather from positions up to its own: (B, T, C).

    `qkv` (B, T, 3C) holds queries, keys and values side by side; scores are scaled by 1/sqrt(C/H).
    """
    if kernels.usable(qkv):
        return _causal_attention(qkv, n_head)
    q, k, v = heads(qkv, n_head)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)


def heads(qkv: Tensor, n_head: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys and values (B, H, T, D) that stand side by side in (B, T, 3C)."""
    B, T, _ = qkv.shape
    q, k, v = qkv.view(B, T, 3, n_head, -1).permute(2, 0, 3, 1, 4)
    return q, k, v


class _GELU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return kernels.gelu(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return kernels.gelu_backward(x, dy.contiguous())


class _CausalAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, n_head: int) -> Tensor:
        y, log_sums = kernels.causal_attention(qkv, n_head)
        ctx.save_for_backward(qkv, y, log_sums)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        qkv, y, log_sums = ctx.saved_tensors
        return kernels.causal_attention_backward(qkv, y, log_sums, dy.contiguous()), None


_gelu = cast(Callable[[Tensor], Tensor], _GELU.apply)
_causal_attention = cast(Callable[[Tensor, int], Tensor], _CausalAttention.apply)
