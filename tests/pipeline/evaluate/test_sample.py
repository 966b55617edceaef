"""Texts as `loglinear sample` gives them."""

from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from model.tokenizer_gpt1 import Gpt1Tokenizer
from model.transformer import GPT
from model.weights import save_model
from pipeline import cli
from pipeline.errors import ConfigError
from pipeline.evaluate.sample import show, stream

from .conftest import SHAPE


def text(run, prompt, **options):
    return "".join(piece for _, piece in stream(run, [prompt], **options))


def texts(run, prompts, **options):
    """Return the texts by number, and how the numbers came."""
    pieces = list(stream(run, prompts, **options))
    numbers = [number for number, _ in pieces]
    assert numbers == sorted(numbers)
    return [
        "".join(piece for number, piece in pieces if number == wanted) for wanted in range(numbers[-1] + 1)
    ]


def test_a_text_goes_on_from_the_prompt_and_is_the_same_for_the_same_seed(run):
    one, same, other = (text(run, "some words", max_new_tokens=20, seed=seed) for seed in (1, 1, 2))

    assert one.startswith("some words") and len(one) > len("some words")
    assert one == same != other


def test_texts_side_by_side_are_those_that_each_would_be_alone(run):
    together = texts(run, ["some words", "a"], samples=2, max_new_tokens=20, seed=5)

    alone = [
        text(run, prompt, max_new_tokens=20, seed=5 + number)
        for number, prompt in enumerate(["some words", "some words", "a", "a"])
    ]
    assert together == alone


def test_a_text_ends_before_a_stop_string_and_its_neighbours_go_on(run):
    free = texts(run, ["some words"], samples=4, max_new_tokens=40)
    replies = [each.removeprefix("some words") for each in free]
    stop = replies[0][10:13]

    stopped = texts(run, ["some words"], samples=4, max_new_tokens=40, stop=[stop, "never this"])

    assert stopped == ["some words" + each.partition(stop)[0] for each in replies]
    assert len(set(map(len, stopped))) > 1


def test_nothing_of_a_stop_string_is_given_out_while_a_text_streams(run):
    reply = text(run, "", max_new_tokens=40)
    stop = reply[12:20]
    shown = ""

    for _, piece in stream(run, [""], max_new_tokens=40, stop=[stop]):
        shown += piece
        assert reply.partition(stop)[0].startswith(shown)
    assert shown == reply.partition(stop)[0]


def test_the_first_text_is_given_out_while_it_is_written(run):
    pieces = stream(run, ["some words"], samples=2, max_new_tokens=30)

    firsts = [piece for number, piece in pieces if number == 0]

    assert firsts[0] == "some words" and len(firsts) > 10


def test_several_texts_are_shown_below_their_numbers(run):
    shown = "".join(show(run, ["some words"], samples=2, max_new_tokens=3))
    one, two = texts(run, ["some words"], samples=2, max_new_tokens=3)

    assert shown == f"--- 1\n{one}\n--- 2\n{two}"
    assert "".join(show(run, ["some words"], max_new_tokens=3)) == one


def test_a_prompt_longer_than_the_context_loses_its_beginning(run):
    assert len(text(run, "word " * 500, max_new_tokens=5)) > 2500


def test_an_empty_prompt_begins_a_document(run):
    assert text(run, "", max_new_tokens=30, seed=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 64}, "ask for 1 to 63"),
        ({"max_new_tokens": 5, "temperature": -1}, "temperature is -1"),
        ({"samples": 0}, "one sample or more"),
        ({"stop": ["x", ""]}, "no empty stop string"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(options, message, run):
    with pytest.raises(ConfigError, match=message):
        list(stream(run, ["x"], **options))


def test_a_gpt1_goes_on_from_the_words_alone(tmp_path):
    pieces = [*"thecadog.", *(f"{letter}</w>" for letter in "thecadog."), "th", "the</w>"]
    vocabulary = {piece: id for id, piece in enumerate(dict.fromkeys(["<unk>", *pieces, "\n</w>"]))}
    tokenizer = Gpt1Tokenizer("small", vocabulary, [("t", "h"), ("th", "e</w>")])
    torch.manual_seed(0)
    network = GPT(replace(SHAPE, architecture="gpt1", vocab_size=len(vocabulary)))
    save_model(tmp_path / "gpt1", network.state_dict(), network.config, tokenizer)

    begun = text(tmp_path / "gpt1", "The cad", max_new_tokens=12, temperature=0.0)

    ids = tokenizer.encode("The cad")
    network.eval()
    with torch.no_grad():
        for _ in range(12):
            ids.append(int(network(torch.tensor([ids]))[0, -1].argmax()))
    assert begun.startswith("the cad ")
    assert begun == tokenizer.decode(ids[: ids.index(0)] if 0 in ids else ids)


def test_the_command_takes_several_prompts_and_stop_strings(run):
    words = ["sample", str(run), "some words", "a", "--samples", "2", "--tokens", "20", "--stop", "e"]

    done = CliRunner().invoke(cli.app, words)

    expected = show(run, ["some words", "a"], samples=2, max_new_tokens=20, stop=["e"])
    assert done.exit_code == 0 and done.stdout == "".join(expected) + "\n"
