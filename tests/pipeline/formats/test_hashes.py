import hashlib
import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.formats.hashes import (
    by_part,
    edges,
    ngram_hashes,
    normal_digest,
    normal_words,
    word_hash,
    word_hashes,
)

HASHES = st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**63 - 1, 2**63, 2**64 - 1])


@given(st.text())
def test_normal_words_are_those_of_the_plain_definition(text: str):
    assert normal_words(text) == re.findall(r"[^\W_]+", text.lower())


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_the_short_way_for_ascii_gives_the_same_words(text: str):
    assert normal_words(text) == re.findall(r"[a-z0-9]+", text.lower())


def test_case_punctuation_and_spacing_do_not_change_the_digest():
    assert normal_digest(normal_words("The  Cat, sat!")) == normal_digest(normal_words("the cat\nsat"))
    assert normal_digest(normal_words("the cat sat")) != normal_digest(normal_words("the sat cat"))


def test_a_word_has_the_same_hash_in_every_process():
    expected = hashlib.blake2b(b"river", digest_size=8).digest()

    assert word_hash("river").to_bytes(8, "little") == expected


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=12), st.integers(1, 4))
def test_equal_ngrams_and_only_those_have_equal_hashes(words: list[str], n: int):
    hashes = ngram_hashes(word_hashes(words), n).tolist()
    ngrams = [tuple(words[at : at + n]) for at in range(len(words) - n + 1)]

    assert len(hashes) == len(ngrams)
    assert len(set(zip(hashes, ngrams, strict=True))) == len(set(hashes)) == len(set(ngrams))


def test_a_text_shorter_than_n_has_no_ngrams():
    assert ngram_hashes(word_hashes(["a", "b"]), 5).dtype == np.uint64
    assert len(ngram_hashes(word_hashes(["a", "b"]), 5)) == 0


@given(hashes=st.lists(HASHES, max_size=30), parts=st.integers(1, 7))
def test_every_hash_lies_in_the_part_whose_edges_are_around_it(hashes: list[int], parts: int):
    array = np.array(hashes, dtype=np.uint64)

    found = {int(place): part for part, places in by_part(array, parts) for place in places}

    bounds = [*map(int, edges(parts)[:-1]), 2**64]
    assert all(bounds[part] <= hashes[place] < bounds[part + 1] for place, part in found.items())
    assert sorted(found) == list(range(len(hashes)))
