"""The kernels' operators against PyTorch's own, which give the same where no kernel may be used."""

import platform

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from model import heads, operators
from model.kernels import build, calls


@pytest.fixture(autouse=True, scope="module", params=["native", "x86-64-v3", "x86-64"])
def kernels(request, tmp_path_factory):
    """Compile for this processor, and for those with 8 and 4 lanes where it does what they do.

    Skip where there is no compiler, so that nothing below compares PyTorch with itself.
    """
    if request.param != "native" and platform.machine() != "x86_64":
        pytest.skip(f"this processor is no {request.param}")
    if request.param == "x86-64-v3" and "avx512f" not in build._processor():
        pytest.skip("this processor has 8 lanes itself, or cannot do what those with 8 do")
    flags = [flag.replace("native", request.param) for flag in build.FLAGS]
    with pytest.MonkeyPatch.context() as patch:
        if request.param != "native":
            patch.setattr(build, "FLAGS", flags)
            patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        build.library.cache_clear()
        if build.library() is None:
            pytest.skip("the kernels want a C++ compiler")
        yield
    build.library.cache_clear()


def drawn(*shape, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return (scale * torch.randn(shape, generator=generator)).requires_grad_()


def with_gradients(function, *given, double=False):
    """Return what a function gives and the gradients of all that it is given, for one outer gradient."""
    leaves = [
        tensor.detach().to(torch.float64 if double else tensor.dtype).requires_grad_() for tensor in given
    ]
    found = function(*leaves)
    outer = drawn(*found.shape, seed=7).detach().to(found.dtype)
    return [found, *torch.autograd.grad(found, leaves, outer)]


def assert_close(found, expected, bound=2e-6, least=1e-3):
    """Compare with the largest number of each as the scale, or with `least` where all are small."""
    for mine, theirs in zip(found, expected, strict=True):
        scale = max(float(theirs.detach().abs().max()), least)
        assert float((mine - theirs).detach().abs().max()) < bound * scale


def plain_attention(qkv, n_head):
    q, k, v = (part.unflatten(2, (n_head, -1)).transpose(1, 2) for part in qkv.chunk(3, 2))
    scores = q @ k.transpose(2, 3) / q.shape[3] ** 0.5
    future = torch.ones(scores.shape[-2:]).triu(1).bool()
    return (scores.masked_fill(future, -torch.inf).softmax(3) @ v).transpose(1, 2).flatten(2)


@settings(max_examples=25, deadline=None)
@given(
    B=st.integers(1, 3),
    T=st.integers(1, 130),
    H=st.integers(1, 3),
    D=st.integers(1, 70),
    scale=st.sampled_from([0.1, 3]),
)
def test_attention_and_its_gradient_are_those_of_the_formula_at_any_size(B, T, H, D, scale):  # noqa: N803
    qkv = drawn(B, T, 3 * H * D, scale=scale)
    found = with_gradients(lambda x: operators.causal_attention(x, H), qkv)
    assert_close(found, with_gradients(lambda x: plain_attention(x, H), qkv, double=True), bound=1e-5)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 9000), scale=st.sampled_from([0.1, 1, 10]))
def test_gelu_and_its_gradient_are_those_of_the_formula_at_any_size(n, scale):
    x = drawn(n, scale=scale)
    expected = with_gradients(lambda x: F.gelu(x, approximate="tanh"), x, double=True)
    assert_close(with_gradients(operators.gelu, x), expected)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 150),
    width=st.integers(1, heads.NARROW),
    ids=st.integers(2, 700),
    scale=st.sampled_from([0.1, 10]),
)
def test_the_narrow_heads_losses_and_gradients_are_those_of_whole_logits(rows, width, ids, scale):
    hidden, weight = drawn(rows, width, scale=scale), drawn(ids, width)
    targets = torch.randint(0, ids, (rows,))
    targets[:: 1 + rows // 2] = -100
    found = with_gradients(lambda h, w: heads.next_token_loss(h, w, targets), hidden, weight)
    expected = with_gradients(
        lambda h, w: F.cross_entropy(h @ w.t(), targets, reduction="sum"), hidden, weight, double=True
    )
    # Exponentials are as exact as the logits, whose error grows with them. Small losses and gradients are
    # what is left of larger numbers: logits, and rows of the other factor.
    largest = (hidden @ weight.t()).abs().max().item()
    loss, exact = found[0].item(), expected[0].item()
    assert loss == pytest.approx(exact, rel=2e-6, abs=2e-6 * rows * largest)
    for mine, theirs, factor in zip(found[1:], expected[1:], (weight, hidden), strict=True):
        assert_close([mine], [theirs], 5e-7 * (10 + largest), least=factor.abs().max().item())


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_number_that_is_not_finite_is_not_lost(value):
    qkv, weight = drawn(1, 40, 48), drawn(32, 16)
    with torch.no_grad():
        qkv[0, 20, 0] = value
    for found in (
        operators.causal_attention(qkv, 2)[0, 20:],
        operators.gelu(qkv)[0, 20:],
        heads.next_token_loss(qkv[0, :, :16].contiguous(), weight, torch.zeros(40, dtype=torch.int64)),
    ):
        assert not torch.isfinite(found).all()


def test_saturated_activations_have_gradients_without_subnormal_numbers():
    x = torch.tensor([[-1e4, -100.0, -20.0, 0.0, 20.0, 100.0, 1e4] + [0.0] * 9]).requires_grad_()
    y = operators.gelu(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(y[0, :7], torch.tensor([0.0, 0, 0, 0, 20, 100, 1e4]))
    torch.testing.assert_close(slope[0, :7], torch.tensor([0.0, 0, 0, 0.5, 1, 1, 1]))


def test_the_number_of_threads_changes_no_bit():
    qkv, matrix, hidden = drawn(2, 100, 96).detach(), drawn(500, 32).detach(), drawn(200, 32).detach()
    targets = torch.randint(0, 500, (200,))
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            losses, gradients = calls.cross_entropy(hidden, matrix, targets, False, True)
            y, log_sums = calls.causal_attention(qkv, 2)
            dqkv = calls.causal_attention_backward(qkv, y, log_sums, y)
            slope = calls.gelu_backward(qkv, calls.gelu(qkv))
            found.append([losses, *gradients, y, log_sums, dqkv, slope])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(found[0], other, strict=True))


def test_other_precisions_devices_and_autocast_are_left_to_pytorch():
    x = drawn(4, 16)
    assert calls.usable(x)
    assert not calls.usable(x.double())
    assert not calls.usable(x.bfloat16())
    assert not calls.usable(x.t())
    assert not calls.usable(torch.empty(4, 16, device="meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert not calls.usable(x)
