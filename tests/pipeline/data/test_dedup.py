from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data import dedup
from pipeline.data.dedup import DedupConfig, ParagraphConfig, SplitsConfig
from pipeline.data.documents import document_files, read_documents
from tests.pipeline.data.conftest import document, write_files

ALL_TRAIN = SplitsConfig(validation=0, test=0)
NO_MINIMUM = ParagraphConfig(min_words_left=1)
STORY = " ".join(f"word{number}" for number in range(100))


def kept(folder: Path) -> dict[str, str]:
    found = [each for file in document_files(folder / "kept") for each in read_documents(file)]
    return {each.metadata["url"].rpartition("/")[2]: each.text for each in found}


def dropped(folder: Path, reason: str) -> dict[str, object]:
    found = [
        each
        for file in document_files(folder / "dropped" / "dedup" / reason)
        for each in read_documents(file)
    ]
    return {each.metadata["url"].rpartition("/")[2]: each.metadata["duplicate_of"] for each in found}


def test_of_equal_texts_the_one_with_most_karma_stays(tmp_path: Path, phase):
    same = [
        document("a", STORY, karma=3),
        document("b", STORY.upper() + "!", karma=8),
        document("c", STORY, karma=5),
    ]
    write_files(tmp_path / "in", {"00000": same[:1], "00001": same[1:]})

    counts = dedup.run(DedupConfig(paragraphs=NO_MINIMUM), ALL_TRAIN, phase("dedup"))

    assert list(kept(tmp_path)) == ["b"]
    assert counts.dropped == {"exact": 2}
    assert dropped(tmp_path, "exact") == {"a": same[1].id, "c": same[1].id}


def test_of_near_duplicates_with_equal_karma_the_longest_stays(tmp_path: Path, phase):
    longer = document("b", STORY + " and a few more words")
    write_files(tmp_path / "in", {"00000": [document("a", STORY), longer]})

    counts = dedup.run(DedupConfig(paragraphs=NO_MINIMUM), ALL_TRAIN, phase("dedup"))

    assert list(kept(tmp_path)) == ["b"]
    assert counts.dropped == {"near": 1}
    assert dropped(tmp_path, "near") == {"a": longer.id}


def test_the_same_address_twice_is_one_document(tmp_path: Path, phase):
    write_files(
        tmp_path / "in", {"00000": [document("a", STORY)], "00001": [document("a", "another text " * 30)]}
    )

    counts = dedup.run(DedupConfig(near=None, paragraphs=NO_MINIMUM), ALL_TRAIN, phase("dedup"))

    assert (counts.documents_out, counts.dropped) == (1, {"same_url": 1})


def test_a_repeated_paragraph_stays_only_with_the_best_document(tmp_path: Path, phase):
    first = document("a", "Only in a.\n\nIn both of them.", karma=9)
    second = document("b", "In both of them.\n\nOnly in b.\n\nhead", karma=3)
    third = document("c", "head\n\nOnly in c.", karma=2)
    write_files(tmp_path / "in", {"00000": [first, second, third]})
    config = DedupConfig(paragraphs=ParagraphConfig(min_words_left=1, min_words=2))

    counts = dedup.run(config, ALL_TRAIN, phase("dedup"))

    assert kept(tmp_path) == {"a": first.text, "b": "Only in b.\n\nhead", "c": "head\n\nOnly in c."}
    assert counts.extra["paragraphs_removed"] == 1
    assert dropped(tmp_path, "paragraphs") == {"b": [first.id]}


def test_a_document_that_consists_of_repetitions_is_dropped(tmp_path: Path, phase):
    write_files(
        tmp_path / "in",
        {
            "00000": [
                document("a", "One of two.\n\nTwo of two.", karma=9),
                document("b", "Two of two.\n\nEnd."),
            ]
        },
    )

    counts = dedup.run(DedupConfig(paragraphs=ParagraphConfig(min_words_left=3)), ALL_TRAIN, phase("dedup"))

    assert counts.dropped == {"little_left": 1}
    assert list(kept(tmp_path)) == ["a"]


def test_nothing_is_dropped_when_nothing_is_asked_for(tmp_path: Path, phase):
    write_files(tmp_path / "in", {"00000": [document("a", STORY), document("b", STORY)]})
    config = DedupConfig(exact=False, near=None, paragraphs=ParagraphConfig(remove="never"))

    assert dedup.run(config, ALL_TRAIN, phase("dedup")).documents_out == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_the_split_travels_with_the_document(tmp_path: Path, phase, workers: int):
    documents = [document(f"{number}", f"number {number} " * 60) for number in range(60)]
    write_files(tmp_path / "in", {"00000": documents[:30], "00001": documents[30:]})
    splits = SplitsConfig(validation=0.2, test=0.2)

    dedup.run(DedupConfig(near=None), splits, phase("dedup", workers=workers))

    found = {file.parent.name: list(read_documents(file)) for file in document_files(tmp_path / "kept")}
    assert set(found) == {"train", "validation", "test"}
    for split, members in found.items():
        assert (
            {splits.of(each.text) for each in members}
            == {each.metadata["split"] for each in members}
            == {split}
        )


@given(st.text(min_size=1))
def test_a_split_depends_on_the_normalised_words_alone(text: str):
    splits = SplitsConfig(validation=0.3, test=0.3)

    assert splits.of(text) == splits.of(f"  {text}\n")


def test_splits_are_as_large_as_asked():
    splits = SplitsConfig(validation=0.1, test=0.2)
    found = [splits.of(f"document number {number}") for number in range(4000)]

    assert found.count("validation") / 4000 == pytest.approx(0.1, abs=0.02)
    assert found.count("test") / 4000 == pytest.approx(0.2, abs=0.02)
