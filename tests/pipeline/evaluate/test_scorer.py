"""Replies against the plain definition: one request at a time, whole logits."""

import random

import pytest
import torch

from pipeline.evaluate.scorer import Scorer
from pipeline.evaluate.task import Generation, LogLikelihood


def requests(count=40, seed=0):
    draw = random.Random(seed)

    def ids(least, most):
        return tuple(draw.randrange(400) for _ in range(draw.randint(least, most)))

    likelihoods = [
        LogLikelihood(context=ids(1, 40), target=ids(1, 20), greedy=n % 2 == 0) for n in range(count)
    ]
    prompts = [ids(1, 30) for _ in range(6)]
    generations = [
        Generation(prompt=prompt, max_new_tokens=8, seed=n, temperature=n % 2, top_k=5)
        for n, prompt in enumerate(prompts)
    ]
    mixed = [*likelihoods, *generations]
    draw.shuffle(mixed)
    return mixed


@torch.no_grad()
def plainly(network, request):
    ids = torch.tensor([request.context + request.target])
    logits = network(ids[:, :-1])[0, len(request.context) - 1 :]
    target = ids[0, len(request.context) :]
    nats = torch.nn.functional.cross_entropy(logits, target, reduction="none").tolist()
    return nats, bool((logits.argmax(-1) == target).all())


def test_log_likelihoods_are_those_of_whole_logits(network):
    asked = [request for request in requests() if isinstance(request, LogLikelihood)]

    for request, reply in zip(asked, Scorer(network, 256).answer(asked), strict=True):
        nats, greedy = plainly(network, request)
        assert reply.nats == pytest.approx(nats, abs=1e-4)
        assert reply.greedy == (greedy if request.greedy else None)


def test_the_likeliest_continuation_is_found_greedy(network):
    with torch.no_grad():
        best = int(network(torch.tensor([[7, 8]]))[0, -1].argmax())

    (reply,) = Scorer(network, 64).answer([LogLikelihood(context=(7, 8), target=(best,), greedy=True)])

    assert reply.greedy is True


@pytest.mark.parametrize("batch_tokens", [1, 100, 10_000])
def test_batching_changes_no_reply(network, batch_tokens):
    expected = Scorer(network, 300).answer(requests())

    for found, wanted in zip(Scorer(network, batch_tokens).answer(requests()), expected, strict=True):
        assert (found.ids, found.greedy) == (wanted.ids, wanted.greedy)
        assert found.nats == pytest.approx(wanted.nats, abs=1e-4)


def test_no_request_needs_no_model(network):
    assert Scorer(network, 10).answer([]) == []
