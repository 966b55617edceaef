import random
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.dedup import DedupConfig, ParagraphConfig, decide
from pipeline.data.documents import Text
from pipeline.data.duplicates import describe, near
from pipeline.data.duplicates.describe import Describe, Described
from pipeline.data.duplicates.minhash import Bands, bucket_keys
from pipeline.data.duplicates.near import jaccard, pairs_of
from pipeline.data.phase import PhaseRun
from pipeline.formats.hashes import ngram_hashes, normal_words, word_hashes
from tests.pipeline.data.conftest import document
from tests.pipeline.data.corpora import WORDS, corpus, edited

Keepers = dict[str, str]


@pytest.fixture
def dropped(tmp_path: Path, phase) -> Callable[..., Keepers]:
    """Return a function of files and bands: the ids of near duplicates, each with the one that stays."""

    def decided(files: list[list[Text]], bands: Bands, name: str = "near") -> Keepers:
        run: PhaseRun = phase(name)
        for rank, documents in enumerate(files):
            Describe(run.work / "described", bands, paragraphs=False)(documents, rank, len(files))
        described = Described.read(run.work / "described", len(files))
        config = DedupConfig(exact=False, near=bands, paragraphs=ParagraphConfig(remove="never"))
        verdicts = decide(config, described, 0, run)
        found: Keepers = {}
        for file, documents in enumerate(files):
            for each, (reason, keeper, _) in zip(documents, verdicts.documents(file), strict=True):
                found |= {each.id: keeper} if reason == "near" else {}
        return found

    return decided


def shingles(text: str, n: int = 5) -> set[tuple[str, ...]]:
    words = normal_words(text)
    return {tuple(words[at : at + n]) for at in range(len(words) - n + 1)}


def true_jaccard(left: str, right: str) -> float:
    a, b = shingles(left), shingles(right)
    return len(a & b) / len(a | b)


def best_first(document: Text) -> tuple[int, int, str]:
    return -document.metadata["karma"], -len(document.text), document.id


@pytest.mark.parametrize("leaders", [1, 8])
def test_what_is_dropped_is_what_brute_force_finds_similar(dropped, monkeypatch, leaders: int):
    monkeypatch.setattr(near, "LEADERS", leaders)
    documents = {each.id: each for each in corpus(random.Random(1))}

    keeper = dropped([list(documents.values())], Bands(min_jaccard=0.7))

    kept = [each for each in documents.values() if each.id not in keeper]
    assert 40 < len(kept) < len(documents) - 20
    for gone, stays in keeper.items():
        assert stays not in keeper, "a dropped document names a kept one"
        assert true_jaccard(documents[gone].text, documents[stays].text) >= 0.7
        assert best_first(documents[stays]) < best_first(documents[gone])
    # The bands miss a pair of 0.85 in one of 40 cases and of 0.9 hardly ever.
    assert [(a, b) for a, b in combinations(kept, 2) if true_jaccard(a.text, b.text) > 0.9] == []


def test_files_parts_ranges_and_shares_change_nothing(dropped, monkeypatch):
    documents = corpus(random.Random(2), originals=12)
    whole = dropped([documents], Bands(), "whole")
    monkeypatch.setattr(describe, "PART_DOCUMENTS", 5)
    monkeypatch.setattr(describe, "SLICE", 100)
    monkeypatch.setattr(near, "SHARE", 20)

    assert dropped([documents[30:], [], documents[:30]], Bands(), "pieces") == whole != {}


def test_a_chain_of_small_changes_does_not_swallow_its_far_end(dropped):
    chance = random.Random(5)
    links = [chance.choices(WORDS, k=200)]
    for start in range(0, 180, 6):  # each link changes six words of the one before, always others
        links.append([*links[-1][:start], *chance.choices(WORDS, k=6), *links[-1][start + 6 :]])
    documents = [document(f"{number}", " ".join(words)) for number, words in enumerate(links)]

    stays = len(documents) - len(dropped([documents], Bands(min_jaccard=0.7)))

    assert 3 <= stays < len(documents) / 2


def test_without_a_least_similarity_whoever_shares_a_bucket_with_one_that_stays_goes(dropped):
    chance = random.Random(7)
    words = chance.choices(WORDS, k=200)
    documents = [document(f"{n}", " ".join(edited(words, 0.06, chance)), karma=9 - n) for n in range(8)]

    trusting = dropped([documents], Bands(bands=40, rows=2, min_jaccard=0), "trusting")
    comparing = dropped([documents], Bands(bands=40, rows=2, min_jaccard=0.7), "comparing")

    assert trusting == {each.id: documents[0].id for each in documents[1:]}
    assert comparing == {}


def test_members_of_a_crowded_bucket_are_compared_with_those_that_take_the_place_of_its_leaders(
    dropped, monkeypatch, tmp_path: Path
):
    """All share the one bucket there is; four are alike, but behind better ones that are like the best."""
    monkeypatch.setattr(near, "LEADERS", 2)
    chance = random.Random(1)
    common, most, few = (chance.choices(WORDS, k=size) for size in (300, 100, 100))
    alike = (7, 9, 11, 13)
    texts = [" ".join([*common, *(few if n in alike else most), f"only{n}"]) for n in range(20)]
    documents = [document(f"{n}", text, karma=99 - n) for n, text in enumerate(texts)]
    one_bucket = next(bands for bands in map(one_band, range(99)) if len(set(buckets(texts, bands))) == 1)

    keeper = dropped([documents], one_bucket)

    best = {n: 7 if n in alike else 0 for n in range(20)}
    assert keeper == {documents[n].id: documents[best[n]].id for n in range(20) if n != best[n]}
    rounds = sorted(tmp_path.rglob("compared-*"))
    assert 3 <= len(rounds) < near.ROUNDS, "the last round is the one that found nothing new"
    compared = [np.fromfile(each / "00000", near.COMPARED)["pair"] for each in rounds]
    assert len(np.unique(np.concatenate(compared))) == sum(map(len, compared)), "no pair was compared twice"


def one_band(seed: int) -> Bands:
    return Bands(bands=1, rows=1, min_jaccard=0.8, seed=seed)


def buckets(texts: list[str], bands: Bands) -> list[int]:
    hashes = [ngram_hashes(word_hashes(normal_words(text)), bands.ngram) for text in texts]
    return bucket_keys(hashes, bands)[:, 0].tolist()


def test_texts_of_fewer_words_than_a_shingle_are_never_near_duplicates(dropped):
    documents = [document("a", "a b c"), document("b", "a b c"), document("c", "")]

    assert dropped([documents], Bands()) == {}


@given(st.lists(st.integers(0, 3), max_size=20), st.integers(1, 4), st.randoms())
def test_every_member_of_a_bucket_meets_its_best(keys: list[int], leaders: int, chance):
    places = chance.sample(range(len(keys)), len(keys))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near, "LEADERS", leaders)
        found = pairs_of(np.array(keys, dtype=np.uint64), np.array(places, dtype=np.uint32))

    buckets = [sorted(p for k, p in zip(keys, places, strict=True) if k == key) for key in set(keys)]
    expected = {
        (worse, better) for each in buckets for worse in each for better in each[:leaders] if better < worse
    }
    assert [divmod(pair, 1 << 32) for pair in found.tolist()] == sorted(expected)


@given(st.sets(st.integers(0, 30), min_size=1), st.sets(st.integers(0, 30), min_size=1))
def test_jaccard_is_that_of_sets(left: set[int], right: set[int]):
    arrays = [np.array(sorted(each), dtype=np.uint32) for each in (left, right)]

    assert jaccard(*arrays) == len(left & right) / len(left | right)
