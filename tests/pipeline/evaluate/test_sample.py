"""Texts as `loglinear sample` gives them."""

import pytest

from pipeline.errors import ConfigError
from pipeline.evaluate.sample import _characters, stream


def test_a_text_goes_on_from_the_prompt_and_is_the_same_for_the_same_seed(run):
    one, same, other = (
        "".join(stream(run, "some words", max_new_tokens=20, seed=seed)) for seed in (1, 1, 2)
    )

    assert one.startswith("some words") and len(one) > len("some words")
    assert one == same != other


def test_a_prompt_longer_than_the_context_loses_its_beginning(run):
    assert len("".join(stream(run, "word " * 500, max_new_tokens=5))) > 2500


def test_an_empty_prompt_begins_a_document(run):
    assert "".join(stream(run, "", max_new_tokens=30, seed=3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 64}, "ask for 1 to 63"),
        ({"max_new_tokens": 5, "temperature": -1}, "temperature is -1"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(options, message, run):
    with pytest.raises(ConfigError, match=message):
        list(stream(run, "x", **options))


def test_characters_come_whole_though_tokens_cut_them():
    pieces = iter([b"a\xc3", b"\xbc", b"\xe2\x82", b"\xac", b"\xff", b"z\xc3"])

    assert list(_characters(pieces)) == ["a", "ü", "€", "�", "z", "�"]
