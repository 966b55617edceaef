"""The networks against transformers' GPT-2 and against what the papers say of their start."""

import math

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from model.attention import attend, block_mask, document_mask
from model.config import GPTConfig, parameters
from model.transformer import GPT
from model.weights import from_hugging_face, to_hugging_face

SHAPE = GPTConfig(n_layer=3, n_head=4, n_embd=32, n_ctx=24, vocab_size=101)


@pytest.fixture
def pair():
    """Our network and transformers', with the same random weights, biases and norms included."""
    torch.manual_seed(0)
    ours = GPT(SHAPE).eval()
    for parameter in ours.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    config = GPT2Config(
        n_layer=3, n_head=4, n_embd=32, n_positions=24, vocab_size=101, bos_token_id=100, eos_token_id=100
    )
    theirs = GPT2LMHeadModel(config).eval()
    state = to_hugging_face(ours.state_dict())
    theirs.load_state_dict({f"transformer.{name}": tensor for name, tensor in state.items()}, strict=False)
    theirs.tie_weights()
    return ours, theirs


def batch(seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 101, (3, 24), generator=generator)


def test_logits_equal_those_of_transformers_with_the_same_weights(pair):
    ours, theirs = pair

    with torch.no_grad():
        difference = (ours(batch()) - theirs(batch()).logits).abs().max()

    assert difference < 1e-5


def test_loss_and_every_gradient_equal_those_of_transformers(pair):
    ours, theirs = pair
    ids, targets = batch(1), batch(2)
    targets[0, :5] = -100

    loss = ours(ids, targets)
    loss.backward()
    logits = theirs(ids).logits
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
    expected.backward()

    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    gradients = from_hugging_face({name: value.grad for name, value in theirs.named_parameters()})
    for name, parameter in ours.named_parameters():
        scale = gradients[name].abs().max()
        assert (parameter.grad - gradients[name]).abs().max() <= 1e-5 * scale, name


def test_losses_of_single_targets_sum_to_the_loss(pair):
    ours, _ = pair
    ids, targets = batch(1), batch(2)
    targets[1] = -100

    losses = ours.losses(ids, targets)

    assert losses.shape == ids.shape and losses[1].eq(0).all()
    torch.testing.assert_close(losses.sum(), ours(ids, targets), check_dtype=False)


def test_a_later_token_never_changes_an_earlier_logit():
    torch.manual_seed(0)
    model, ids = GPT(SHAPE).eval(), batch()
    changed = ids.clone()
    changed[:, 10:] = 0

    with torch.no_grad():
        assert torch.equal(model(ids)[:, :10], model(changed)[:, :10])


def test_the_seed_alone_decides_the_first_weights():
    def build(seed):
        torch.manual_seed(seed)
        return GPT(SHAPE).state_dict()

    one, same, other = build(5), build(5), build(6)

    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["wte.weight"], other["wte.weight"])


def test_first_weights_spread_as_released_and_residual_projections_less():
    torch.manual_seed(0)
    model = GPT(GPTConfig(n_layer=8, n_head=4, n_embd=128, n_ctx=256, vocab_size=512))
    spread = {name: float(value.std()) for name, value in model.state_dict().items() if value.ndim == 2}

    assert spread["wte.weight"] == pytest.approx(0.02, rel=0.02)
    assert spread["wpe.weight"] == pytest.approx(0.01, rel=0.02)
    assert spread["h.3.attn.c_attn.weight"] == pytest.approx(0.02, rel=0.02)
    for name in ("h.0.attn.c_proj.weight", "h.7.mlp.c_proj.weight"):
        assert spread[name] == pytest.approx(0.02 / math.sqrt(16), rel=0.02)
    assert all(value.eq(0).all() for name, value in model.named_parameters() if name.endswith("bias"))


def test_the_network_has_as_many_parameters_as_are_told():
    assert sum(parameter.numel() for parameter in GPT(SHAPE).parameters()) == parameters(SHAPE)


def test_dropout_works_in_training_alone():
    torch.manual_seed(0)
    model = GPT(GPTConfig(n_layer=1, n_head=2, n_embd=16, n_ctx=24, vocab_size=101, dropout=0.5))
    ids = batch()

    assert not torch.equal(model(ids), model(ids))
    model.eval()
    assert torch.equal(model(ids), model(ids))


def one_architecture(architecture, **changes):
    torch.manual_seed(0)
    return GPT(GPTConfig(**{**vars(SHAPE), "architecture": architecture, **changes}))


def test_gpt1_drops_out_entries_of_its_matrices_for_the_embedding_and_the_tied_head_alike():
    model = one_architecture("gpt1", n_layer=1, dropout=0.5)
    for name, parameter in model.named_parameters():  # a block that is its two norms alone
        if name.startswith(("h.0.attn", "h.0.mlp")):
            parameter.data.zero_()
    ids = batch()

    torch.manual_seed(7)
    logits = model(ids)

    torch.manual_seed(7)
    tokens = torch.nn.functional.dropout(model.wte.weight, 0.5)
    positions = torch.nn.functional.dropout(model.wpe.weight, 0.5)
    state = tokens[ids] + positions
    for _ in range(2):
        state = torch.nn.functional.layer_norm(state, (32,), eps=1e-5)
    torch.testing.assert_close(logits, state @ tokens.t())


def test_gpt1_starts_with_unscaled_projections_and_has_no_final_norm():
    model = one_architecture("gpt1", n_layer=8, n_embd=128, position_std=0.02)
    state = model.state_dict()

    assert not any(name.startswith("ln_f") for name in state)
    for name in ("wte.weight", "wpe.weight", "h.0.attn.c_proj.weight", "h.7.mlp.c_proj.weight"):
        assert float(state[name].std()) == pytest.approx(0.02, rel=0.05), name
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters(model.config)


@pytest.mark.parametrize("architecture", ["gpt1", "gpt2"])
def test_activations_computed_again_give_the_same_loss_and_gradients_bitwise(architecture):
    model = one_architecture(architecture, dropout=0.2)
    found = []
    for again in (False, True):
        model.checkpoint_activations = again
        model.zero_grad()
        torch.manual_seed(3)
        loss = model(batch(1), batch(2))
        loss.backward()
        found.append([loss, *(parameter.grad.clone() for parameter in model.parameters())])

    assert all(torch.equal(kept, computed) for kept, computed in zip(*found, strict=True))


@pytest.mark.parametrize("architecture", ["gpt1", "gpt2"])
def test_with_documents_a_position_sees_nothing_of_the_document_before(architecture):
    model = one_architecture(architecture).eval()
    ids = batch()
    documents = (torch.arange(24) >= 10).long().expand(3, 24)
    changed = ids.clone()
    changed[:, :10] = 0

    with torch.no_grad():
        assert torch.equal(
            model(ids, documents=documents)[:, 10:], model(changed, documents=documents)[:, 10:]
        )
        assert not torch.equal(model(ids)[:, 10:], model(changed)[:, 10:])
        alone = model(ids, documents=torch.zeros_like(ids))
        torch.testing.assert_close(alone, model(ids), atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")  # a GPU compiles it
def test_the_mask_of_blocks_that_a_gpu_takes_shows_what_the_dense_one_shows():
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 200, 16).unbind()
    documents = (torch.rand(2, 200) < 0.05).cumsum(1)

    dense = attend(q, k, v, document_mask(documents, dropout=0.0), 0.0, causal=True)
    blocks = attend(q, k, v, block_mask(documents), 0.0, causal=True)

    torch.testing.assert_close(blocks, dense, atol=1e-5, rtol=0)
