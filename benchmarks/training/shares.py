"""Where a step's time goes, by kind of operator: what is not a matrix product is what speed is lost to."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.autograd.profiler_util import EventList
from torch.profiler import ProfilerActivity, profile

# The first kind whose word is in an operator's or a kernel's name takes it.
KINDS = (
    ("attention", ("scaled_dot_product", "flash", "fmha", "attention")),
    (
        "matrix products",
        ("aten::mm", "aten::addmm", "aten::bmm", "mkl", "gemm", "cutlass", "nvjet", "xmma", "sm90_"),
    ),
    ("optimizer", ("adam", "multi_tensor")),
    ("norm of the gradients", ("vector_norm", "get_total_norm", "_foreach_norm", "_foreach_mul")),
    ("layer norms", ("layer_norm",)),
    ("GELU", ("gelu",)),
    ("exponentials of the head", ("aten::exp", "softmax", "log_softmax", "nll_loss", "logsumexp")),
    ("embedding", ("embedding", "index")),
    ("compiled kernels", ("graph", "triton", "cpp_fused")),
    ("sums (biases, softmax)", ("aten::sum", "reduce")),
    ("zeros and copies", ("fill", "zero", "copy", "cat", "clone", "memset", "memcpy")),
    ("sums of gradients, residuals, scaling", ("aten::add", "aten::mul", "aten::div", "elementwise")),
)
REST = "the rest (dispatch, Python, small operators)"


def shares(step: Callable[[], object]) -> dict[str, float]:
    """Return each kind's share of one step's own time, the largest first; on a GPU, of its kernels."""
    device = torch.cuda.is_available()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device else [])]
    step()
    with profile(activities=activities) as profiler:
        step()
    seconds: dict[str, float] = {}
    events: EventList = profiler.key_averages()
    for event in events:
        taken = event.self_device_time_total if device else event.self_cpu_time_total
        seconds[kind_of(event.key)] = seconds.get(kind_of(event.key), 0.0) + taken
    total = sum(seconds.values())
    return {name: seconds[name] / total for name in sorted(seconds, key=lambda name: -seconds[name])}


def kind_of(name: str) -> str:
    """Return the kind of an operator by its name."""
    lower = name.lower()
    return next((kind for kind, words in KINDS if any(word in lower for word in words)), REST)


def table(found: dict[str, float]) -> str:
    """Return shares as lines for people."""
    return "\n".join(f"    {share:6.1%}  {kind}" for kind, share in found.items())
