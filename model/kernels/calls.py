"""The kernels called on tensors: contiguous ones in fp32 on a CPU."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor
from torch.nn import Parameter

from model.kernels.build import library

PART = 64  # as in the sources: so many rows of a matrix are added up by one thread


def usable(*tensors: Tensor) -> bool:
    """Return whether the kernels take these tensors: plain ones in fp32 on a CPU, contiguous, and not while
    PyTorch compiles or casts.
    """
    for tensor in tensors:
        plain = tensor.is_cpu and tensor.dtype == torch.float32 and type(tensor) in (Tensor, Parameter)
        if not (plain and tensor.is_contiguous()):
            return False
    return not (torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu")) and library() is not None


def causal_attention(qkv: Tensor, n_head: int) -> tuple[Tensor, Tensor]:
    """Return what each position gathers from those up to its own (B, T, C), and the logarithms of the sums of
    exponentials (B, H, T), from queries, keys and values side by side (B, T, 3C).
    """
    B, T, width = qkv.shape
    y, log_sums = qkv.new_empty(B, T, width // 3), qkv.new_empty(B, n_head, T)
    _call("causal_attention", qkv, y, log_sums, B, T, n_head, width // 3 // n_head)
    return y, log_sums


def causal_attention_backward(qkv: Tensor, y: Tensor, log_sums: Tensor, dy: Tensor) -> Tensor:
    """Return the gradient of qkv (B, T, 3C) from that of y (B, T, C)."""
    B, H, T = log_sums.shape
    dqkv = torch.empty_like(qkv)
    _call("causal_attention_backward", qkv, y, log_sums, dy, dqkv, B, T, H, y.shape[2] // H)
    return dqkv


def gelu(x: Tensor) -> Tensor:
    """Return GELU's tanh approximation of x (...)."""
    y = torch.empty_like(x)
    _call("gelu_forward", x, y, x.numel())
    return y


def gelu_backward(x: Tensor, dy: Tensor) -> Tensor:
    """Return the gradient of x (...) from that of its GELU."""
    dx = torch.empty_like(x)
    _call("gelu_backward", x, dy, dx, x.numel())
    return dx


def add_bias_gelu(x: Tensor, bias: Tensor) -> Tensor:
    """Add a bias (C,) to the rows of x (N, C), in place; return their GELU."""
    y = torch.empty_like(x)
    _call("add_bias_gelu", x, bias, y, *x.shape)
    return y


def add_bias_gelu_backward(x: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of x (N, C), in dy's place, and of the bias (C,) from that of the GELU."""
    sums = x.new_empty(-(-len(x) // PART), x.shape[1])
    _call("add_bias_gelu_backward", x, dy, sums, *x.shape)
    return dy, sums.sum(0)


def layer_norm(x: Tensor, weight: Tensor, shift: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the norm of x (..., C), its moments (N, 2), and x + bias, where the residual stream goes on."""
    rows = x.numel() // x.shape[-1]
    normed, stream, moments = torch.empty_like(x), torch.empty_like(x), x.new_empty(rows, 2)
    _call("layer_norm", x, weight, shift, bias, normed, stream, moments, rows, x.shape[-1])
    return normed, moments, stream


def layer_norm_backward(
    x: Tensor, weight: Tensor, moments: Tensor, dnormed: Tensor, dstream: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradient of x (..., C) by both ways, in dnormed's place, and the sums over rows (4, C): the
    gradients of weight, of shift and of the bias, and what the gradient of x adds up to.
    """
    sums = x.new_empty(-(-len(moments) // PART), 4, x.shape[-1])
    _call("layer_norm_backward", x, weight, moments, dnormed, dstream, sums, len(moments), x.shape[-1])
    return dnormed, sums.sum(0)


def sum_rows(x: Tensor) -> Tensor:
    """Return the sum of the rows of x (N, C): (C,)."""
    sums = x.new_empty(-(-len(x) // PART), x.shape[1])
    _call("sum_rows", x, sums, *x.shape)
    return sums.sum(0)


def cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, shift: bool, gradients_wanted: bool
) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    """Return the losses (N,) of targets (N,), 0 where one is negative, by the logits hidden (N, C) @ weight.T
    (C, V), and the gradients of both factors if wanted. Without `shift` no logit may be beyond 80. No target
    is checked.
    """
    losses, (N, C), V = hidden.new_empty(len(hidden)), hidden.shape, len(weight)  # noqa: N806 - as in model/
    found = (torch.empty_like(hidden), torch.empty_like(weight)) if gradients_wanted else None
    _call("cross_entropy", hidden, weight, targets, losses, *(found or (None, None)), N, V, C, int(shift))
    return losses, found


def _call(name: str, *given: Tensor | int | None) -> None:
    """Call a kernel with the addresses of contiguous tensors, whole numbers, and the number of threads."""
    words = [
        ctypes.c_long(each) if isinstance(each, int) else each if each is None else _address(each)
        for each in given
    ]
    getattr(library(), name)(*words, torch.get_num_threads())


def _address(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())
