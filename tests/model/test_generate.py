"""Generation with a cache against generation without one."""

import pytest
import torch

from model.config import GPTConfig
from model.generate import GREEDY, Sampling, generate, stream
from model.transformer import GPT

PROMPTS = [[1, 2, 3], [5, 6, 7, 8, 9, 10, 11], [40]]
SAMPLED = Sampling(temperature=0.8, top_k=20, top_p=0.9)


@pytest.fixture(scope="module", params=["gpt2", "gpt1"])
def model(request):
    torch.manual_seed(0)
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 16, "n_ctx": 32, "vocab_size": 41}
    model = GPT(GPTConfig(architecture=request.param, **shape)).eval()
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.2)
    return model


def seeds(*numbers):
    return [torch.Generator().manual_seed(number) for number in numbers]


@torch.no_grad()
def without_cache(model, prompt, new_tokens, sampling, generator):
    """The definition, written out: one whole pass an id, then greedy or a draw from what is kept."""
    ids = list(prompt)
    for _ in range(new_tokens):
        logits = model(torch.tensor([ids]))[0, -1]
        draw = torch.rand((), generator=generator)
        ids.append(chosen(logits, sampling, draw))
    return ids[len(prompt) :]


def chosen(logits, sampling, draw):
    if not sampling.temperature:
        return int(logits.argmax())
    probabilities = (logits / sampling.temperature).softmax(-1).tolist()
    kept, mass = [], 0.0
    ranked = sorted(range(len(probabilities)), key=lambda id: -probabilities[id])[: sampling.top_k]
    total = sum(probabilities[id] for id in ranked)
    for id in ranked:
        if sampling.top_p is not None and mass >= sampling.top_p * total:
            break
        kept.append(id)
        mass += probabilities[id]
    place, reached = float(draw) * mass, 0.0
    for id in kept:
        reached += probabilities[id]
        if place < reached:
            return id
    return kept[-1]


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED, Sampling(), Sampling(top_p=0.5)])
def test_the_cache_changes_no_token_for_prompts_of_any_length(model, sampling):
    expected = [
        without_cache(model, prompt, 20, sampling, generator)
        for prompt, generator in zip(PROMPTS, seeds(1, 2, 3), strict=True)
    ]

    found = generate(model, PROMPTS, max_new_tokens=20, sampling=sampling, generators=seeds(1, 2, 3))

    assert found == expected


def test_a_reply_does_not_depend_on_its_neighbours(model):
    together = generate(model, PROMPTS, max_new_tokens=9, sampling=SAMPLED, generators=seeds(1, 2, 3))

    alone = generate(model, PROMPTS[1:2], max_new_tokens=9, sampling=SAMPLED, generators=seeds(2))

    assert together[1] == alone[0]


def test_a_stop_id_ends_its_own_reply_alone(model):
    free = generate(model, PROMPTS, max_new_tokens=10)
    stop = free[0][4]

    stopped = generate(model, PROMPTS, max_new_tokens=10, stop_ids=[stop])

    assert stopped == [reply[: reply.index(stop)] if stop in reply else reply for reply in free]


def test_what_is_told_of_every_id_may_end_a_reply_and_no_other(model):
    free = generate(model, PROMPTS, max_new_tokens=10)
    told = [[], [], []]

    def ended(number, id):
        told[number].append(id)
        return number == 1 and len(told[1]) == 4

    stopped = generate(model, PROMPTS, max_new_tokens=10, ended=ended)

    assert stopped == told == [free[0], free[1][:4], free[2]]


def test_no_step_is_taken_once_every_reply_is_over(model):
    steps = []
    hook = model.h[0].register_forward_hook(lambda *_: steps.append(1))

    generate(model, PROMPTS, max_new_tokens=10, ended=lambda *_: True)
    hook.remove()

    assert len(steps) == 1


def test_a_stream_gives_ids_one_step_at_a_time(model):
    steps = list(stream(model, PROMPTS, max_new_tokens=5))

    assert [list(reply) for reply in zip(*steps, strict=True)] == generate(model, PROMPTS, max_new_tokens=5)


def test_one_likely_id_is_all_that_top_k_of_one_keeps(model):
    sampling = Sampling(temperature=5.0, top_k=1)

    assert generate(model, PROMPTS, max_new_tokens=8, sampling=sampling) == generate(
        model, PROMPTS, max_new_tokens=8
    )


def test_draws_follow_the_probabilities(model):
    with torch.no_grad():
        expected = model(torch.tensor([[3]]))[0, -1].softmax(-1)
    draws = generate(
        model, [[3]] * 4000, max_new_tokens=1, sampling=Sampling(), generators=seeds(*range(4000))
    )

    shares = torch.bincount(torch.tensor(draws).flatten(), minlength=41) / 4000

    assert (shares - expected).abs().max() < 4 * 0.5 / 4000**0.5


@pytest.mark.parametrize(
    ("prompts", "new_tokens", "message"),
    [([[1], []], 3, "a prompt is empty"), ([[1] * 30], 3, "30 ids and 3 new ones exceed the context of 32")],
)
def test_prompts_that_cannot_be_gone_on_from_are_refused(model, prompts, new_tokens, message):
    with pytest.raises(ValueError, match=message):
        generate(model, prompts, max_new_tokens=new_tokens)


@pytest.mark.parametrize("wrong", [{"temperature": -1.0}, {"top_k": 0}, {"top_p": 0.0}])
def test_a_way_of_drawing_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Sampling(**wrong)
