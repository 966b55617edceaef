"""GPT-2's block as one differentiable operator, for models so small that a CPU's time goes between products.

The products are PyTorch's, all else is a kernel's: biases of projections are added where the stream passes a
norm, others and their gradients where activations and their gradients pass anyway, and nothing is recorded
for autograd in between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from model.kernels import calls as kernels

if TYPE_CHECKING:
    from model.transformer import PreNormBlock


def serves(block: PreNormBlock, x: Tensor) -> bool:
    """Return whether a block may be computed so: in fp32 on a CPU, without dropout, and if nobody looks at
    what its parts are given or give.
    """
    return (
        not (block.training and block.attn.dropout)
        and kernels.usable(x, block.mlp.c_fc.weight)
        and not any(map(_is_watched, block.parts))
    )


def _is_watched(part: nn.Module) -> bool:
    # ZeRO 3 also brings a part's parameters when it is called.
    return bool(
        part._forward_hooks or part._forward_pre_hooks or part._backward_hooks or part._backward_pre_hooks
    )


def pre_norm_block(block: PreNormBlock, x: Tensor) -> Tensor:
    """Return the residual stream (B, T, C) after a block."""
    layers = (block.ln_1, block.attn.c_attn, block.attn.c_proj, block.ln_2, block.mlp.c_fc, block.mlp.c_proj)
    parameters = [parameter for layer in layers for parameter in (layer.weight, layer.bias)]
    return _apply(x, block.attn.n_head, *parameters)


class _PreNormBlock(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        n_head: int,
        norm_1: Tensor,
        shift_1: Tensor,
        w_qkv: Tensor,
        b_qkv: Tensor,
        w_out: Tensor,
        b_out: Tensor,
        norm_2: Tensor,
        shift_2: Tensor,
        w_in: Tensor,
        b_in: Tensor,
        w_back: Tensor,
        b_back: Tensor,
    ) -> Tensor:
        B, T, C = x.shape
        n1, moments_1, middle = kernels.layer_norm(x, norm_1, shift_1, b_out)
        n1 = n1.view(-1, C)
        qkv = torch.addmm(b_qkv, n1, w_qkv.t()).view(B, T, -1)
        y, log_sums = kernels.causal_attention(qkv, n_head)
        middle.view(-1, C).addmm_(y.view(-1, C), w_out.t())
        n2, moments_2, last = kernels.layer_norm(middle, norm_2, shift_2, b_back)
        n2 = n2.view(-1, C)
        inner = torch.mm(n2, w_in.t())
        activations = kernels.add_bias_gelu(inner, b_in)
        last.view(-1, C).addmm_(activations, w_back.t())
        ctx.save_for_backward(
            x, moments_1, n1, qkv, y, log_sums, middle, moments_2, n2, inner, activations,
            norm_1, w_qkv, w_out, norm_2, w_in, w_back,
        )  # fmt: skip
        return last  # no view: FSDP2 warns of those

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        (
            x, moments_1, n1, qkv, y, log_sums, middle, moments_2, n2, inner, activations,
            norm_1, w_qkv, w_out, norm_2, w_in, w_back,
        ) = ctx.saved_tensors  # fmt: skip
        rows = outer.reshape(n1.shape).contiguous()
        d_inner, d_b_in = kernels.add_bias_gelu_backward(inner, torch.mm(rows, w_back))
        d_middle, sums = kernels.layer_norm_backward(middle, norm_2, moments_2, torch.mm(d_inner, w_in), rows)
        d_norm_2, d_shift_2, d_b_back, d_b_out = sums.unbind()
        d_w_in, d_w_back = torch.mm(d_inner.t(), n2), torch.mm(rows.t(), activations)
        del d_inner  # the widest
        d_qkv = kernels.causal_attention_backward(
            qkv, y, log_sums, torch.mm(d_middle, w_out).view(y.shape)
        ).view(len(n1), -1)
        dx, sums = kernels.layer_norm_backward(x, norm_1, moments_1, torch.mm(d_qkv, w_qkv), d_middle)
        return (
            dx.view(x.shape), None,
            sums[0], sums[1],
            torch.mm(d_qkv.t(), n1), kernels.sum_rows(d_qkv),
            torch.mm(d_middle.t(), y.view(n1.shape)), d_b_out,
            d_norm_2, d_shift_2,
            d_w_in, d_b_in,
            d_w_back, d_b_back,
        )  # fmt: skip


_apply = cast(Callable[..., Tensor], _PreNormBlock.apply)
