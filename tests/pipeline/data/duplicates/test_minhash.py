import random

import numpy as np
import pytest

from pipeline.data.duplicates import minhash
from pipeline.data.duplicates.minhash import Bands, bucket_keys
from pipeline.formats.hashes import Hashes, ngram_hashes, normal_words, word_hashes

WORDS = [f"word{number}" for number in range(2000)]


def shingles(text: str) -> Hashes:
    return ngram_hashes(word_hashes(normal_words(text)), 5)


def true_jaccard(left: str, right: str) -> float:
    sets = [
        {tuple(text.split()[at : at + 5]) for at in range(len(text.split()) - 4)} for text in (left, right)
    ]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


@pytest.mark.parametrize("share", [0.02, 0.04, 0.06, 0.1])
def test_the_bands_find_as_many_pairs_as_the_theory_says(share: float):
    bands, chance, pairs = Bands(), random.Random(3), 250
    expected, hashes = 0.0, []
    for _ in range(pairs):
        words = chance.choices(WORDS, k=120)
        edited = [chance.choice(WORDS) if chance.random() < share else word for word in words]
        texts = [" ".join(words), " ".join(edited)]
        expected += bands.probability(true_jaccard(*texts))
        hashes += map(shingles, texts)
    keys = bucket_keys(hashes, bands)

    found = (keys[::2] == keys[1::2]).any(axis=1).sum()

    three_sigma = 3 * 0.5 / pairs**0.5
    assert found / pairs == pytest.approx(expected / pairs, abs=three_sigma)


def test_minima_agree_as_often_as_the_shingles_do():
    # With one row to a band, each band is one permutation: the share that agrees estimates the similarity.
    bands, numbers = (
        Bands(bands=4000, rows=1),
        np.random.default_rng(0).integers(2**64, size=90, dtype=np.uint64),
    )

    keys = bucket_keys([numbers[:60], numbers[30:]], bands)

    assert (keys[0] == keys[1]).mean() == pytest.approx(30 / 90, abs=3 * 0.5 / 4000**0.5)


def test_the_keys_of_a_document_do_not_depend_on_what_is_hashed_with_it(monkeypatch):
    chance, bands = np.random.default_rng(1), Bands()
    hashes = [chance.integers(2**64, size=size, dtype=np.uint64) for size in (1, 50, 3, 700, 20)]
    together = bucket_keys(hashes, bands)
    monkeypatch.setattr(minhash, "BLOCK", 40)

    assert (bucket_keys(hashes, bands) == together).all()
    assert all(
        (bucket_keys([each], bands)[0] == keys).all() for each, keys in zip(hashes, together, strict=True)
    )


def test_equal_minima_in_two_bands_are_two_buckets():
    keys = bucket_keys([np.array([7], dtype=np.uint64)] * 2, Bands(bands=50, rows=1))

    assert (keys[0] == keys[1]).all()
    assert len(set(keys[0].tolist())) == 50


def test_another_seed_makes_other_buckets():
    one = np.array([7, 8, 9], dtype=np.uint64)

    assert not (bucket_keys([one], Bands(seed=1)) == bucket_keys([one], Bands(seed=2))).any()
