"""Where sentences end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluate.sentences import sentences


@pytest.mark.parametrize(
    "expected",
    [
        ["One is here.", "Two is there!", "Is three?", "Four…", "five"],
        ["Mr. Jones of the U.S. Navy met Dr. No at 3.5 p.m. on Jan. 3.", "They left."],
        ["She left (at noon.)", "He did not.", '"We tried."', '"Twice!"'],
        ["“It is over.”", "He wept.", "'Never!'", "They said so."],
        ["« Nous partons. »", "Il pleut.", "M. Dupont et Mme Roy sont là."],
        ["the deal is done .", "`` we are glad . ''", "they left ."],
        ["What?!", "No...", "Yes."],
        ["See http://x.org/a.b?c=1 for v1.2.3 of it.", "Done."],
        ["J. R. R. Tolkien wrote it.", "It sold."],
        ["The world No. 1 said no.", "It is no art.", "On Dec. 3 she won."],
    ],
)
def test_a_text_is_told_apart_into(expected):
    assert sentences(" ".join(expected)) == expected


def test_a_line_ends_a_sentence_and_an_empty_one_is_none():
    assert sentences("A headline\n\n  Then. More \n") == ["A headline", "Then.", "More"]
    assert sentences("") == sentences(" \n ") == []


@given(st.text("ab AB.!?\n\"')»M", max_size=40))
def test_nothing_is_lost_but_blanks(text):
    found = sentences(text)

    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(sentence == sentence.strip() and sentence for sentence in found)
