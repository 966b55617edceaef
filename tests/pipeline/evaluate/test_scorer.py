"""Replies against the plain definition: one request at a time, whole logits."""

import random
from dataclasses import replace

import pytest
import torch

from model import tokenizer as tokenizers
from model.config import GPTConfig
from model.transformer import GPT
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


def test_a_recurrent_network_answers_requests_with_one_beginning_as_it_would_one_by_one():
    torch.manual_seed(0)
    shape = {"architecture": "lstm", "n_layer": 1, "n_head": 1, "n_hidden": 24}
    network = GPT(GPTConfig(n_embd=16, n_ctx=64, vocab_size=400, **shape)).eval()
    context = tuple(range(30))
    asked = [LogLikelihood(context=context, target=(7, number), greedy=True) for number in range(5)]

    for request, reply in zip(asked, Scorer(network, 256).answer(asked), strict=True):
        assert reply.nats == pytest.approx(plainly(network, request)[0], abs=1e-5)


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


def choices(count=10, shared=40, seed=3):
    """Choices after one text, targets of one to eight ids; the first ids of some are the same."""
    draw = random.Random(seed)
    passage = tuple(draw.randrange(400) for _ in range(shared))
    targets = [tuple(draw.randrange(400) for _ in range(1 + n % 8)) for n in range(count)]
    targets[-1] = (*targets[0], 7, 8)
    return [LogLikelihood(context=passage, target=target, greedy=True) for target in targets]


def test_choices_that_share_a_text_are_scored_as_if_alone(network):
    asked = [*choices(), *requests(), *choices(seed=4)]
    assert any(not row.is_plain for batch in Scorer(network, 300).batches(choices()) for row in batch.rows)

    for request, reply in zip(asked, Scorer(network, 300).answer(asked), strict=True):
        if isinstance(request, LogLikelihood):
            nats, greedy = plainly(network, request)
            assert reply.nats == pytest.approx(nats, abs=1e-4)
            assert reply.greedy == (greedy if request.greedy else None)


def test_shared_texts_are_scored_in_bf16_too(network):
    import copy

    halved = copy.deepcopy(network).bfloat16()

    for request, reply in zip(choices(), Scorer(halved, 300).answer(choices()), strict=True):
        assert reply.nats == pytest.approx(plainly(network, request)[0], abs=0.2)


@torch.no_grad()
def test_the_likeliest_ids_come_with_greedy_and_one_instead_of_those_passed_over(network):
    asked = LogLikelihood(context=(7, 8), target=(5, 6, 9), greedy=True)
    logits = network(torch.tensor([[7, 8, 5, 6]]))[0, 1:]
    first, second = logits[0].topk(2).indices.tolist()

    (reply, other) = Scorer(network, 64).answer([asked, replace(asked, without=(first,))])

    assert reply.likeliest == other.likeliest == tuple(logits.argmax(-1).tolist())
    assert (reply.instead, other.instead) == (None, second)


def test_a_text_ends_before_its_stop_string_and_its_ids_with_it(network, dataset):
    tokenizer = tokenizers.load(dataset)
    scorer = Scorer(network, 300, tokenizer)
    asked = Generation(prompt=(3, 4), max_new_tokens=30, temperature=1.0)
    (whole,) = scorer.answer([asked])
    stop = whole.text[5:7]

    (ended, other) = scorer.answer([replace(asked, stop=(stop, "not in there")), asked])

    assert whole.text == tokenizer.decode(whole.ids) == other.text
    assert ended.text == whole.text[: whole.text.index(stop)]
    assert ended.ids == whole.ids[: len(ended.ids)] and ended.text.startswith(tokenizer.decode(ended.ids))


def test_a_text_comes_with_the_nats_of_its_ids(network, dataset):
    asked = [
        Generation(prompt=(3, 4), max_new_tokens=n, temperature=1.0, top_k=5, nats=n > 3) for n in (3, 6, 8)
    ]

    silent, *told = Scorer(network, 300, tokenizers.load(dataset)).answer(asked)

    assert silent.nats == ()
    for reply in told:
        expected, _ = plainly(network, LogLikelihood(context=(3, 4), target=reply.ids))
        assert reply.nats == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (LogLikelihood(context=(1,) * 60, target=(2,) * 6), "together one more than the context of 64"),
        (LogLikelihood(context=(), target=(2,)), "take one at least"),
        (LogLikelihood(context=(1,), target=()), "take one at least"),
        (Generation(prompt=(1,) * 60, max_new_tokens=5), "exceed the context of 64"),
        (Generation(prompt=(1,), max_new_tokens=5, stop=("a",)), "give the scorer its model's tokenizer"),
    ],
)
def test_what_cannot_be_asked_is_told(network, request_, message):
    with pytest.raises(ValueError, match=message):
        Scorer(network, 64).answer([request_])


def test_no_request_needs_no_model(network):
    assert Scorer(network, 10).answer([]) == []
