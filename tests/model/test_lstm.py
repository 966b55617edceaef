"""The recurrent baseline against PyTorch's own module, and as a network like the others."""

import pytest
import torch

from model.config import GPTConfig, parameters, parameters_in_products, parameters_of_block
from model.transformer import GPT
from model.weights import load_network, save_model

SHAPE = GPTConfig(architecture="lstm", n_layer=1, n_head=1, n_embd=8, n_hidden=20, n_ctx=16, vocab_size=50)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return GPT(SHAPE).eval()


def test_its_states_are_those_of_pytorchs_module(network):
    theirs = torch.nn.LSTM(8, 20, batch_first=True)
    block = network.h[0]
    ours = [block.input_weight, block.state_weight, block.input_bias, block.state_bias]
    for mine, parameter in zip(ours, theirs.parameters(), strict=True):
        parameter.data.copy_(mine)
    ids = torch.randint(0, 50, (3, 16))

    states = network.hidden(ids)

    torch.testing.assert_close(states, theirs(network.wte(ids))[0] @ block.projection.T)


def test_no_position_sees_what_comes_after_it(network):
    ids = torch.randint(0, 50, (1, 16))
    other = ids.clone()
    other[0, 9] = (ids[0, 9] + 1) % 50

    before, after = network(ids), network(other)

    torch.testing.assert_close(before[:, :9], after[:, :9])
    assert not torch.allclose(before[:, 9:], after[:, 9:])


def test_its_counts_are_those_of_its_tensors(network):
    assert parameters(SHAPE) == sum(parameter.numel() for parameter in network.parameters())
    assert parameters_of_block(SHAPE) == sum(parameter.numel() for parameter in network.h[0].parameters())
    matrices = [parameter for parameter in network.parameters() if parameter.ndim == 2]
    assert parameters_in_products(SHAPE) == sum(matrix.numel() for matrix in matrices)


def test_it_is_saved_and_read_with_its_units(network, tmp_path):
    save_model(tmp_path, network.state_dict(), SHAPE)

    again = load_network(tmp_path)

    assert again.config == SHAPE
    ids = torch.randint(0, 50, (2, 16))
    assert torch.equal(again(ids), network(ids))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_hidden": None}, "n_hidden is None: an lstm has some"),
        ({"n_hidden": 0}, "n_hidden is 0: an lstm has some"),
        ({"n_hidden": -7}, "n_hidden is -7: an lstm has some"),
        ({"architecture": "gpt2"}, "n_hidden is 20: an lstm has some, no other network has any"),
        ({"causal": False}, "an lstm reads from left to right"),
    ],
)
def test_shapes_that_fit_no_network_are_refused(wrong, message):
    shape = {"n_layer": 1, "n_head": 1, "n_embd": 8, "architecture": "lstm", "n_hidden": 20}
    with pytest.raises(ValueError, match=message):
        GPTConfig(**{**shape, **wrong})
