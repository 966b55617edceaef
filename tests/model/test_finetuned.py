"""Heads on a pretrained network against the same computation with transformers' network, in fp64."""

import pytest
import torch
from torch.nn import functional
from transformers import OpenAIGPTConfig, OpenAIGPTModel

from model.config import GPTConfig
from model.finetuned import FineTuned
from model.transformer import GPT
from model.weights import load_network, save_model, to_hugging_face

SHAPE = GPTConfig(architecture="gpt1", n_layer=2, n_head=2, n_embd=16, n_ctx=12, vocab_size=43)
SHAPES = {"text": (4, 1, 3), "orders": (4, 2, 2), "answers": (4, 3, 1), "spans": (4, 1, 2)}  # B, K, outputs


def made(reading, causal=True, dropout=0.0):
    torch.manual_seed(0)
    shape = GPTConfig(**{**vars(SHAPE), "causal": causal})
    network = FineTuned(GPT(shape), reading, SHAPES[reading][2], dropout).double()
    for parameter in network.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    return network.eval()


def sequences(reading, seed=1):
    """Return ids, places and targets of sequences of different lengths, some with no target at all."""
    B, K, _ = SHAPES[reading]  # noqa: N806 - as in model/
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 43, (B, K, 12), generator=draw)
    places = torch.randint(3, 12, (B, K), generator=draw)
    targets = ids.roll(-1, 2)
    targets[torch.arange(12) >= places.unsqueeze(2)] = -100
    targets[0, 0] = -100
    return ids, places, targets


def golden(network, reading, ids, places, targets):
    """Return scores and loss by transformers' network and plain loops."""
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 12, "vocab_size": 43}
    theirs = OpenAIGPTModel(OpenAIGPTConfig(**shape)).double().eval()
    theirs.load_state_dict(to_hugging_face(network.body.state_dict(), "gpt1"), strict=False)
    head, bias = network.head.weight, network.head.bias
    scores, loss = [], torch.zeros((), dtype=torch.float64)
    for rows, ends, wanted in zip(ids, places, targets, strict=True):
        read = []
        for row, end, goal in zip(rows, ends, wanted, strict=True):
            states = theirs(row.unsqueeze(0)).last_hidden_state[0]
            read.append(states if reading == "spans" else states[end])
            logits = states @ theirs.tokens_embed.weight.T
            each = [functional.cross_entropy(logits[t], goal[t]) for t in range(12) if goal[t] >= 0]
            loss = loss + (sum(each) / len(each) if each else 0)
        if reading == "orders":
            scores.append(head @ (read[0] + read[1]) + bias)
        elif reading == "answers":
            scores.append(torch.stack([head[0] @ state + bias[0] for state in read]))
        else:
            scores.append(read[0] @ head.T + bias)
    return torch.stack(scores), loss


@pytest.mark.parametrize("reading", SHAPES)
def test_scores_loss_and_gradients_are_those_of_transformers_and_plain_loops(reading):
    network = made(reading)
    ids, places, targets = sequences(reading)

    scores, loss = network(ids, places, targets)
    (scores.square().sum() + 0.5 * loss).backward()
    ours = {name: parameter.grad.clone() for name, parameter in network.named_parameters()}
    network.zero_grad()
    expected_scores, expected_loss = golden(network, reading, ids, places, targets)
    expected_scores.square().sum().backward()

    torch.testing.assert_close(scores, expected_scores, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(loss.double(), expected_loss, rtol=1e-6, atol=0)
    for name in ("head.weight", "head.bias"):
        torch.testing.assert_close(
            ours[name], dict(network.named_parameters())[name].grad, rtol=1e-6, atol=1e-9
        )


@pytest.mark.parametrize("reading", SHAPES)
@pytest.mark.parametrize("causal", [True, False])
def test_what_stands_after_the_extract_token_changes_nothing(reading, causal):
    network = made(reading, causal)
    ids, places, targets = sequences(reading)
    longer = torch.where(torch.arange(12) > places.unsqueeze(2), (ids + 7) % 43, ids)

    seen = torch.arange(12) <= places.unsqueeze(2)
    before, loss = network(ids, places, targets)
    after, other_loss = network(longer, places, targets)

    if reading == "spans":
        before, after = before[seen[:, 0]], after[seen[:, 0]]
    torch.testing.assert_close(before, after)
    torch.testing.assert_close(loss, other_loss)


def test_without_a_causal_mask_every_position_sees_all_of_its_sequence():
    network = made("text", causal=False)
    ids, places, _ = sequences("text")
    places[:] = 9
    other = ids.clone()
    other[:, 0, 9] = (ids[:, 0, 9] + 1) % 43

    states, after = network.body.hidden(ids[:, 0, :10]), network.body.hidden(other[:, 0, :10])

    assert not torch.allclose(states[:, 0], after[:, 0])


def test_a_bidirectional_network_is_saved_under_its_own_name_and_read_again(tmp_path):
    body = made("text", causal=False).body.float()
    save_model(tmp_path, body.state_dict(), body.config)

    again = load_network(tmp_path)

    assert '"model_type": "bidirectional"' in (tmp_path / "config.json").read_text()
    assert again.config == body.config
    ids = torch.randint(0, 43, (2, 12))
    assert torch.equal(again(ids), body(ids))


def test_all_answers_to_a_question_lose_the_same_entries():
    torch.manual_seed(0)
    network = made("answers", dropout=0.5).train()
    ids, places, _ = sequences("answers")
    ids[:] = ids[:, :1]
    places[:] = 5

    scores, _ = network(ids, places)

    assert (scores == scores[:, :1]).all()
    assert len(set(scores[:, 0].tolist())) > 1


def test_a_reading_that_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="reading is 'backwards', but must be one of text, orders"):
        FineTuned(GPT(SHAPE), "backwards", 2)
