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
def test_a_target_that_is_no_id_is_an_error(wrong):
    hidden, weight, _ = factors(2, 4, 7)

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
