from itertools import chain, pairwise
from pathlib import Path

import pytest

from pipeline.data.duplicates import describe
from pipeline.data.duplicates.describe import Describe, Described
from pipeline.data.duplicates.minhash import Bands
from tests.pipeline.data.conftest import document

DOCUMENTS = [
    document(f"{number}", "\n\n".join(f"some words of {number} and {n}" for n in range(number % 4 + 1)))
    for number in range(23)
]


def described(folder: Path, sizes: list[int], bands: Bands | None = None) -> Described:
    first = 0
    for rank, size in enumerate(sizes):
        Describe(folder, bands or Bands(), paragraphs=True)(DOCUMENTS[first : first + size], rank, len(sizes))
        first += size
    return Described.read(folder, len(sizes))


def columns_of(found: Described, name, index: int) -> list[tuple[int, ...]]:
    """Return the rows of a range: hash, document and, if they are paragraphs, paragraph."""
    columns = found.postings(name, index)[: 3 if name == "paragraphs" else 2]
    return list(zip(*(column.tolist() for column in columns), strict=True))


@pytest.mark.parametrize("part", [1 << 14, 5])
@pytest.mark.parametrize("name", ["urls", "texts", "buckets", "paragraphs"])
def test_the_ranges_of_a_list_hold_every_hash_once(tmp_path: Path, monkeypatch, part: int, name):
    whole = described(tmp_path / "whole", [23])
    monkeypatch.setattr(describe, "PART_DOCUMENTS", part)
    monkeypatch.setattr(describe, "SLICE", 8)
    parts = described(tmp_path / "parts", [10, 0, 13])

    ranges = [columns_of(parts, name, index) for index in range(parts.slices(name))]

    assert len(ranges) > 1
    filled = [columns for columns in ranges if columns]
    assert all(max(one)[0] < min(other)[0] for one, other in pairwise(filled))
    monkeypatch.setattr(describe, "SLICE", 1 << 20)
    assert sorted(chain(*ranges)) == sorted(columns_of(whole, name, 0))


def test_a_part_ends_after_so_many_characters(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(describe, "PART_CHARACTERS", 100)

    assert len(described(tmp_path, [23]).parts) > 5


def test_shingles_are_found_by_row_across_parts_and_files(tmp_path: Path, monkeypatch):
    whole = described(tmp_path / "whole", [23])
    monkeypatch.setattr(describe, "PART_DOCUMENTS", 4)
    parts = described(tmp_path / "parts", [10, 0, 13])

    for row in range(23):
        found = parts.shingles(row)
        assert found.tolist() == sorted(set(found.tolist())) == whole.shingles(row).tolist()
        words = DOCUMENTS[row].text.split()
        assert len(found) == len({tuple(words[at : at + 5]) for at in range(len(words) - 4)})


def test_shingles_are_not_kept_where_nothing_is_compared(tmp_path: Path):
    found = described(tmp_path, [23], Bands(min_jaccard=0))

    assert [(part / "shingles").stat().st_size for part in found.parts] == [0]
    assert (found.parts[0] / "buckets").stat().st_size > 0


def test_a_description_that_was_interrupted_is_not_there(tmp_path: Path):
    def cut_off():
        yield from DOCUMENTS[:5]
        raise OSError("cut off")

    with pytest.raises(OSError, match="cut off"):
        Describe(tmp_path, Bands(), paragraphs=True)(cut_off(), 0, 1)

    assert list(tmp_path.iterdir()) == []


def test_a_description_that_is_whole_is_not_made_again(tmp_path: Path):
    described(tmp_path, [5])

    Describe(tmp_path, Bands(), paragraphs=True)(DOCUMENTS, 0, 1)

    assert int(Described.read(tmp_path, 1).starts[-1]) == 5
