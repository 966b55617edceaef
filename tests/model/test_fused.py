"""GPT-2's block as one operator against the same block computed part by part."""

import pytest
import torch

from model import fused
from model.config import GPTConfig
from model.kernels.build import library
from model.transformer import GPT


@pytest.fixture(autouse=True, scope="module")
def kernels():
    """Skip where there is no compiler, so that nothing below compares the parts with themselves."""
    if library() is None:
        pytest.skip("the kernels want a C++ compiler")


def network(width=32, dropout=0.0) -> GPT:
    torch.manual_seed(0)
    model = GPT(GPTConfig(n_layer=2, n_head=2, n_embd=width, n_ctx=37, vocab_size=60, dropout=dropout))
    with torch.no_grad():  # biases and norms away from 0 and 1, where mistakes in them would not show
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def served(model: GPT) -> bool:
    return all(fused.serves(block, torch.zeros(1, 4, model.config.n_embd)) for block in model.h)


def loss_and_gradients(model: GPT) -> list[torch.Tensor]:
    ids = torch.randint(0, 60, (3, 38), generator=torch.Generator().manual_seed(1))
    loss = model(ids[:, :-1], ids[:, 1:])
    return [loss, *torch.autograd.grad(loss, list(model.parameters()))]


@pytest.mark.parametrize("width", [6, 24, 32, 96])
@pytest.mark.parametrize("again", [False, True])
def test_loss_and_gradients_are_those_of_the_parts(width, again):
    model = network(width)
    model.checkpoint_activations = again
    assert served(model)
    found = loss_and_gradients(model)
    watched = model.double()
    assert not served(watched)

    for mine, theirs in zip(found, loss_and_gradients(watched), strict=True):
        bound = 1e-5 * max(float(theirs.detach().abs().max()), 1e-2)
        assert float((mine - theirs).detach().abs().max()) < bound


def test_who_looks_at_a_part_of_a_block_is_shown_it():
    model, seen = network(), []
    model.h[1].mlp.c_fc.register_forward_hook(lambda _part, given, _found: seen.append(given[0].shape))

    assert fused.serves(model.h[0], torch.zeros(1, 4, 32))
    assert not fused.serves(model.h[1], torch.zeros(1, 4, 32))
    loss_and_gradients(model)
    assert seen == [(3, 37, 32)]


def test_dropout_is_left_to_the_parts_while_training():
    model = network(dropout=0.1)
    assert not served(model.train())
    assert served(model.eval())
