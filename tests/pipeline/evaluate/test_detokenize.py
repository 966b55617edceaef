"""That tokens come back from the text that they became, whatever they are, and that the text reads well."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluate.detokenize import NEWS, TREEBANK, WIKITEXT, Detokenizer, bare_treebank

ALL = {"wikitext": WIKITEXT, "news": NEWS, "treebank": TREEBANK, "ptb": bare_treebank("N")}
ALL["ptb, numbers as 1"] = bare_treebank("1")

MARKS = [
    *".,;:!?()[]{}%$£#'\"=&+-–—/’“”°",
    "...",
    "``",
    "''",
    "`",
    "--",
    "@-@",
    "@,@",
    "@.@",
    "-LRB-",
    "-RRB-",
]
WORDS = [
    "a",
    "boys",
    "x's",
    "U.S.",
    "Mr.",
    "don't",
    "n't",
    "'s",
    "'re",
    "N",
    "1",
    "19",
    "000",
    "T4.5",
    "<unk>",
]
TOKENS = st.lists(
    st.one_of(
        st.sampled_from(MARKS + WORDS),
        st.text(st.characters(blacklist_categories=["Zs", "Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=6),
    )
)


def back(detokenizer: Detokenizer, tokens: list[str]) -> list[str]:
    line = detokenizer.detokenize(tokens)
    assert len(line.pieces) == len(tokens)
    return detokenizer.retokenize(line.text, line.exceptions)


@pytest.mark.parametrize("name", ALL)
@given(tokens=TOKENS)
@settings(deadline=None)
def test_any_tokens_come_back(name, tokens):
    assert back(ALL[name], tokens) == tokens


@pytest.mark.parametrize(
    ("name", "tokens", "text"),
    [
        ("wikitext", "= = Early life = =", "== Early life =="),
        ("wikitext", "He was 1 @,@ 000 @.@ 5 m ( 3 ft ) tall .", "He was 1,000.5 m (3 ft) tall."),
        ("wikitext", 'the " guest @-@ starring " role ;', 'the "guest-starring" role;'),
        ("wikitext", "Teddy 's boys ' toys don 't , U.S. $ 5", "Teddy's boys' toys don't, U.S. $5"),
        ("wikitext", "1990 – 91 at 9 : 30 and / or <unk> 's co", "1990–91 at 9:30 and/or <unk>'s co"),
        ("wikitext", 'he said : " Go . "', 'he said: "Go."'),
        ("news", "John O 'Shea said \" No \" , wasn 't sold .", "John O'Shea said \"No\", wasn't sold."),
        ("news", "2,500 re-call signs ( AP ) .", "2,500 re-call signs (AP)."),
        ("treebank", "`` why ? '' i 'm -LRB- not -RRB- , '' he said", '"why?" i\'m (not)," he said'),
        ("ptb", "investors ' pay $ N or N % they do n't", "investors' pay $N or N% they don't"),
        ("ptb", "xyz corp. 's <unk> 's u.s. 's", "xyz corp.'s <unk>'s u.s.'s"),
        ("ptb, numbers as 1", "mr. <unk> 's $ N billion", "mr. <unk>'s $1 billion"),
    ],
)
def test_text_is_as_people_write_it_and_needs_no_exception(name, tokens, text):
    line = ALL[name].detokenize(tokens.split())

    assert line.text == text and not line.exceptions
    assert back(ALL[name], tokens.split()) == tokens.split()


def test_a_joint_that_would_not_be_undone_is_not_made():
    line = WIKITEXT.detokenize(["in", "Vol", ".", "11"])

    assert line.text == "in Vol . 11" and not line.exceptions


def test_a_token_that_no_spelling_brings_back_is_an_exception_with_its_chunk():
    line = WIKITEXT.detokenize(["the", "Press.", ",", "however"])

    assert line.text == "the Press., however"
    assert line.exceptions == {1: ("Press.", ",")}
    assert WIKITEXT.retokenize(line.text, {}) == ["the", "Press", ".", ",", "however"]


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "exceptions"),
    [
        ("raw/wiki.test.raw", 12),
        pytest.param("tokens/test.txt", 0, marks=pytest.mark.slow),
        pytest.param("tokens/valid.txt", 0, marks=pytest.mark.slow),
    ],
)
def test_all_of_wikitext_comes_back(real_data, name, exceptions):
    lines = (real_data / "eval/wikitext2" / name).read_text(encoding="utf-8").split("\n")
    found = 0
    for line in lines:
        tokens = re.findall(r"[^ ]+", line)
        written = WIKITEXT.detokenize(tokens)
        assert WIKITEXT.retokenize(written.text, written.exceptions) == tokens
        found += len(written.exceptions)

    assert found <= exceptions


@pytest.mark.real_data
def test_the_news_at_hand_comes_back_without_exceptions(real_data: Path):
    for path in (real_data / "eval/format_samples/lm1b").rglob("news.en*"):
        for line in path.read_text(encoding="utf-8").splitlines():
            written = NEWS.detokenize(line.split())
            assert not written.exceptions
            assert NEWS.retokenize(written.text, {}) == line.split()
