"""The text of a reply: whole characters, and never a part of a stop string."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluate.text import ReplyText


def written(pieces, stop=()):
    """Return what is given out after each piece, up to the end."""
    text, given_out = ReplyText(stop), []
    for piece in pieces:
        text.add(piece)
        given_out.append(text.take())
        if text.over:
            return given_out
    text.close()
    return [*given_out, text.take()]


def test_characters_come_whole_though_ids_cut_them():
    pieces = [b"a\xc3", b"\xbc", b"\xe2\x82", b"\xac", b"\xff", b"z\xc3"]

    assert written(pieces) == ["a", "ü", "", "€", "\ufffd", "z", "\ufffd"]


def test_what_may_begin_a_stop_string_is_held_back_until_it_is_certain():
    assert written([b"one\n", b"two\n", b"\nthree"], ["\n\n"]) == ["one", "\ntwo", ""]
    assert written([b"a <", b"|en", b"t>"], ["<|end|>"]) == ["a ", "", "<|ent>", ""]
    assert written([b"a <", b"|en"], ["<|end|>"]) == ["a ", "", "<|en"]


def test_a_stop_string_that_ids_cut_within_a_character_is_seen():
    assert written([b"so\xe2\x80", b"\xa6 on"], ["…"]) == ["so", ""]


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        (["c"], "ab"),
        (["bcd", "c"], "ab"),  # c is whole before bcd is
        (["c", "abc"], ""),  # both are whole at once
        (["x", "d"], "abc"),
        (["abcdef"], "abcd"),
    ],
)
def test_of_several_stop_strings_the_first_to_be_whole_ends_the_text(stop, expected):
    assert "".join(written([b"abcd"], stop)) == "".join(written([b"a", b"b", b"c", b"d"], stop)) == expected


letters = st.text("ab\né", max_size=12)


@given(letters, st.lists(letters.filter(bool), max_size=3), st.data())
def test_how_ids_cut_a_text_changes_nothing(text, stop, data):
    content = text.encode()
    places = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=6)))
    pieces = [content[a:b] for a, b in zip([0, *places], [*places, len(content)], strict=True)]

    ends = [end for end in range(len(text) + 1) if any(text[:end].endswith(each) for each in stop)]
    longest = max((len(each) for each in stop if ends and text[: ends[0]].endswith(each)), default=0)
    expected = text[: ends[0] - longest] if ends else text

    assert "".join(written(pieces, stop)) == expected
