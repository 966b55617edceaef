import math
from pathlib import Path

import numpy as np
import pytest

from pipeline.data import spill
from pipeline.data.contamination.bloom import BloomConfig, FillPart
from pipeline.data.spill import spilling
from pipeline.formats.bloom import Bloom, shape
from pipeline.formats.hashes import mixed
from pipeline.formats.publish import write_json


def build(folder: Path, elements: np.ndarray, rate: float) -> Bloom:
    with spilling(folder / "hashes", 0) as written:
        written.add(elements)
    parts = spill.parts_of(folder / "hashes")
    for part in range(parts):
        FillPart(folder / "hashes", parts, rate, folder)(None, part, parts)
    counts = [len(spill.distinct(folder / "hashes", part, parts)) for part in range(parts)]
    write_json(folder / "bloom.json", {"ngram": 8, "rate": rate, "elements": counts})
    return Bloom.read(folder)


@pytest.mark.parametrize(
    ("rate", "hashes", "bits"),
    [
        (1e-8, 27, 38.34),  # the GPT-2 paper's rate; the optimum with real k is -log2(rate) / ln 2
        (0.01, 7, 9.585),
        (0.5, 1, 1.443),
    ],
)
def test_a_filter_is_as_large_as_theory_says(rate: float, hashes: int, bits: float):
    count, per_element = shape(rate)

    assert (count, per_element) == (hashes, pytest.approx(bits, abs=0.01))
    assert (1 - math.exp(-count / per_element)) ** count == pytest.approx(rate)
    assert per_element == pytest.approx(-math.log2(rate) / math.log(2), rel=0.01)


def test_the_size_of_a_filter_is_told():
    # 1e8 n-grams at 38.34 bits
    assert "at most 0.479 GB (38.34 bits an n-gram, 27 hashes), and 0.800 GB" in BloomConfig().told(10**8)


@pytest.mark.parametrize("parts_of", [1 << 24, 3000])
def test_false_positives_are_as_frequent_as_promised_and_nothing_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts_of: int
):
    monkeypatch.setattr(spill, "PART", parts_of)
    elements = mixed(np.arange(20_000))
    foreign = mixed(np.arange(10**7, 10**7 + 500_000))

    bloom = build(tmp_path, elements, 1e-3)

    assert len(bloom.elements) == math.ceil(20_000 / parts_of)
    assert bloom.contains(elements).all()
    # 500 are expected, their standard deviation is 22
    assert abs(int(bloom.contains(foreign).sum()) - 500) < 5 * 22


def test_half_of_the_bits_are_set(tmp_path: Path):
    bloom = build(tmp_path, mixed(np.arange(20_000)), 1e-8)

    assert np.unpackbits(bloom.field(0)).mean() == pytest.approx(0.5, abs=0.01)


def test_an_empty_filter_contains_nothing(tmp_path: Path):
    bloom = build(tmp_path, np.empty(0, np.uint64), 1e-8)

    assert not bloom.contains(mixed(np.arange(100))).any()
    assert bloom.contains(np.empty(0, np.uint64)).tolist() == []
