"""The chunked loss against PyTorch's cross-entropy over whole logits."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model import heads
from model.heads import next_token_loss, token_losses


def factors(rows, width, ids, seed=0, dtype=torch.float64, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(rows, width, generator=generator, dtype=torch.float64) * scale
    weight = torch.randn(ids, width, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, ids, (rows,), generator=generator)
    return hidden.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_(), targets


def plain(hidden, weight, targets):
    return torch.nn.functional.cross_entropy(hidden @ weight.t(), targets, reduction="sum")


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 200), width=st.integers(1, 9), ids=st.integers(1, 50), ignored=st.integers(0, 200))
def test_loss_and_gradients_are_those_of_whole_logits_at_any_size(rows, width, ids, ignored):
    hidden, weight, targets = factors(rows, width, ids, seed=rows)
    targets[:ignored] = -100
    expected = torch.autograd.grad(3 * plain(hidden, weight, targets), (hidden, weight))

    loss = next_token_loss(hidden, weight, targets)

    torch.testing.assert_close(loss, plain(hidden, weight, targets))
    for found, wanted in zip(torch.autograd.grad(3 * loss, (hidden, weight)), expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_chunks_of_one_row_change_nothing(monkeypatch):
    hidden, weight, targets = factors(50, 8, 20)
    whole = token_losses(hidden, weight, targets)
    monkeypatch.setattr(heads, "_chunk_rows", lambda *_: 1)

    torch.testing.assert_close(token_losses(hidden, weight, targets), whole)


def test_logits_far_from_zero_stay_exact():
    hidden, weight, targets = factors(20, 8, 30, dtype=torch.float32, scale=1000.0)

    expected = plain(hidden.double(), weight.double(), targets)

    torch.testing.assert_close(next_token_loss(hidden, weight, targets).double(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("logit", [69.9, 70.1])
def test_logits_at_the_bound_of_plain_exponentials_stay_exact_from_either_side(logit):
    hidden = torch.tensor([[logit], [-logit], [0.5]], requires_grad=True)
    weight = torch.tensor([[1.0], [-1.0], [0.25]], requires_grad=True)
    targets = torch.tensor([1, 1, 2])
    expected = torch.autograd.grad(plain(hidden.double(), weight.double(), targets), (hidden, weight))

    loss = next_token_loss(hidden, weight, targets)

    torch.testing.assert_close(loss.double(), plain(hidden.double(), weight.double(), targets))
    for found, wanted in zip(torch.autograd.grad(loss, (hidden, weight)), expected, strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("wrong", [-1, 7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # by the kernel, by PyTorch
def test_a_target_that_is_no_id_is_an_error(wrong, dtype):
    hidden, weight, _ = factors(2, 4, 7, dtype=dtype)

    with pytest.raises(RuntimeError, match="out of bounds"):
        next_token_loss(hidden, weight, torch.tensor([0, wrong]))


def test_half_precision_factors_give_a_loss_in_single_precision():
    hidden, weight, targets = factors(300, 16, 40, dtype=torch.bfloat16)
    wide = [hidden.detach().float().requires_grad_(), weight.detach().float().requires_grad_()]

    loss = next_token_loss(hidden, weight, targets)
    loss.backward()
    plain(*wide, targets).backward()

    assert loss.dtype == torch.float32 and hidden.grad.dtype == weight.grad.dtype == torch.bfloat16
    torch.testing.assert_close(loss, plain(*wide, targets), rtol=1e-2, atol=0)
    torch.testing.assert_close(weight.grad.float(), wide[1].grad, rtol=0.05, atol=0.3)


def test_autocast_computes_the_products_in_its_own_precision():
    hidden, weight, targets = factors(64, 16, 40, dtype=torch.float32)

    with torch.autocast("cpu", torch.bfloat16):
        loss = next_token_loss(hidden, weight, targets)
    loss.backward()

    assert loss.dtype == torch.float32 and weight.grad.dtype == torch.float32
    torch.testing.assert_close(loss, plain(hidden, weight, targets), rtol=1e-2, atol=0)


def test_the_chunks_of_a_gradient_are_summed_in_the_weights_own_precision(monkeypatch):
    monkeypatch.setattr(heads, "_chunk_rows", lambda *_: 16)
    hidden, weight, targets = factors(64, 16, 40, dtype=torch.float32)

    with torch.autocast("cpu", torch.bfloat16):
        next_token_loss(hidden, weight, targets).backward()

    assert not weight.grad.equal(weight.grad.bfloat16().float())


@pytest.mark.parametrize("ids", [1, 127, 128, 129])
@pytest.mark.parametrize("rows", [1, 150])
def test_padding_of_the_vocabulary_shows_nowhere(monkeypatch, ids, rows):
    hidden, weight, targets = factors(rows, 6, ids)
    expected = plain(hidden, weight, targets)
    gradients = torch.autograd.grad(3 * expected, (hidden, weight))
    monkeypatch.setattr(heads, "_multiplied", heads._padded)

    loss = next_token_loss(hidden, weight, targets)

    assert heads._padded(weight.detach(), weight.dtype).shape == (-(-ids // 128) * 128, 6)
    torch.testing.assert_close(loss, expected)
    for found, wanted in zip(torch.autograd.grad(3 * loss, (hidden, weight)), gradients, strict=True):
        torch.testing.assert_close(found, wanted)


def test_autocast_gives_what_padded_factors_in_its_precision_give():
    hidden, weight, targets = factors(64, 16, 40, dtype=torch.float32)
    rounded = [factor.detach().bfloat16().float() for factor in (hidden, weight)]

    with torch.autocast("cpu", torch.bfloat16):
        losses = token_losses(hidden, weight, targets)

    logits = (rounded[0] @ rounded[1].t()).bfloat16().float()
    expected = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    torch.testing.assert_close(losses, expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torch_s_own_chunked_loss_agrees(dtype):
    hidden, weight, targets = factors(100, 16, 300, dtype=dtype)
    targets[::7] = -100
    options = torch.nn.LinearCrossEntropyOptions()
    theirs = torch.nn.functional.linear_cross_entropy(
        hidden, weight, targets, reduction="sum", options=options
    )
    expected = torch.autograd.grad(theirs, (hidden, weight))

    loss = next_token_loss(hidden, weight, targets)

    torch.testing.assert_close(loss, theirs)
    for found, wanted in zip(torch.autograd.grad(loss, (hidden, weight)), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_a_loss_is_differentiated_once():
    hidden, weight, targets = factors(5, 4, 7)
    loss = next_token_loss(hidden, weight, targets)
    loss.backward(retain_graph=True)

    with pytest.raises(RuntimeError, match="differentiated before"):
        loss.backward()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler calls what torch has deprecated
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_passes_over_a_chunk_are_the_same_compiled(monkeypatch, dtype):
    hidden, weight, targets = factors(500, 16, 300, dtype=dtype, scale=20.0)
    monkeypatch.setattr(heads, "_multiplied", heads._padded)
    monkeypatch.setattr(heads, "_chunk_rows", lambda *_: 200)
    plainly = next_token_loss(hidden, weight, targets)
    expected = torch.autograd.grad(plainly, (hidden, weight))
    compiled = torch.compile(heads._differentiate)
    monkeypatch.setattr(heads, "_differentiation", lambda _: compiled)

    loss = next_token_loss(hidden, weight, targets)

    # Compiled code rounds to bf16 less often.
    rtol, atol = (1e-4, 1e-4) if dtype == torch.float32 else (0.05, 0.3)
    torch.testing.assert_close(loss, plainly)
    for found, wanted in zip(torch.autograd.grad(loss, (hidden, weight)), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=rtol, atol=atol)


def test_targets_that_are_all_ignored_cost_nothing_and_teach_nothing():
    hidden, weight, _ = factors(5, 4, 7)
    loss = next_token_loss(hidden, weight, torch.full((5,), -100))
    loss.backward()

    assert loss == 0 and weight.grad.eq(0).all() and hidden.grad.eq(0).all()


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_gives_what_the_cpu_gives(dtype):
    hidden, weight, targets = factors(500, 64, 1000, dtype=dtype, scale=0.1)
    there = [
        tensor.detach().cuda().requires_grad_(tensor.is_floating_point())
        for tensor in (hidden, weight, targets)
    ]

    next_token_loss(hidden, weight, targets).backward()
    loss = next_token_loss(*there)
    loss.backward()

    tolerance = {"rtol": 1e-4, "atol": 1e-3} if dtype == torch.float32 else {"rtol": 0.05, "atol": 0.05}
    torch.testing.assert_close(loss.cpu(), next_token_loss(hidden, weight, targets), **tolerance)
    torch.testing.assert_close(there[1].grad.cpu(), weight.grad, **tolerance)
