"""Short answers against references: by hand, and by their definitions word for word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.answers import exact_match, f1, leave_one_out, normalise

WORDS = st.lists(st.sampled_from(["cat", "dog", "été", "1972", "theatre"]), min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("answer", "normal"),
    [
        ("The  Cat's\tpyjamas!", "cats pyjamas"),
        ("a.", ""),
        ("Theatre an other", "theatre other"),
        ("U.S.A", "usa"),
        ("14 – 15", "14 – 15"),  # only ASCII punctuation goes
    ],
)
def test_case_punctuation_articles_and_blanks_do_not_count(answer, normal):
    assert normalise(answer) == normal


def test_any_reference_may_match_exactly():
    assert exact_match("december 1972.", ["14 December 1972 UTC", "December 1972"]) == 1
    assert exact_match("1972", ["December 1972"]) == 0


def test_f1_weighs_shared_words_with_their_counts_and_takes_the_best_reference():
    # two of three words are right, and two of four are found: p = 2/3, r = 2/4
    assert f1("red red house", ["red house by lake"]) == pytest.approx(
        2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4)
    )
    assert f1("red red house", ["blue", "red red house"]) == 1


def test_where_nothing_is_left_only_nothing_is_right():
    assert f1("", ["the"]) == f1("a", ["."]) == exact_match("", ["the"]) == 1
    assert f1("", ["cat"]) == f1("cat", [""]) == exact_match("", ["cat"]) == 0


def test_each_reference_is_left_out_once():
    # without "cat" nothing matches, without either of the others "cat" does
    assert leave_one_out(exact_match, "cat", ["cat", "dog", "cow"]) == pytest.approx(2 / 3)
    assert leave_one_out(exact_match, "cat", ["cat", "cat"]) == 1
    assert leave_one_out(exact_match, "cat", ["cat"]) == 1


@given(st.data())
def test_noise_around_words_changes_neither_form_nor_score(data):
    words, noisy = data.draw(WORDS), []
    for word in words:
        noisy += data.draw(st.lists(st.sampled_from(["the", "An", "a,", "...", "--"]), max_size=2))
        noisy.append(data.draw(st.sampled_from([word, word.upper(), f"{word}!", f"'{word}'"])))
    answer = data.draw(st.sampled_from([" ", "\n", "  \t"])).join(noisy)

    assert normalise(answer) == " ".join(words)
    assert exact_match(answer, [" ".join(words)]) == f1(answer, [" ".join(words)]) == 1


@given(WORDS, WORDS)
def test_f1_is_the_harmonic_mean_of_precision_and_recall(answer, reference):
    left, shared = list(reference), 0
    for word in answer:
        if word in left:
            left.remove(word)
            shared += 1
    precision, recall = shared / len(answer), shared / len(reference)
    expected = 2 * precision * recall / (precision + recall) if shared else 0

    assert f1(" ".join(answer), [" ".join(reference)]) == pytest.approx(expected)
