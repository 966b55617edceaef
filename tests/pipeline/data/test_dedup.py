import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.phases.dedup_quality import quality
from pipeline.data import dedup
from pipeline.data.dedup import DedupConfig, ParagraphConfig, SplitsConfig
from pipeline.data.documents import document_files, read_documents
from pipeline.data.duplicates import describe, near
from pipeline.errors import ConfigError, FormatError, StageError
from tests.pipeline.data.conftest import document, write_files
from tests.pipeline.data.corpora import build, halves

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


@pytest.mark.parametrize("files", [{}, {"00000": []}])
def test_where_there_is_nothing_nothing_is_left(tmp_path: Path, phase, files):
    write_files(tmp_path / "in", files)

    counts = dedup.run(DedupConfig(), ALL_TRAIN, phase("dedup"))

    assert (counts.documents_in, counts.documents_out, counts.dropped) == (0, 0, {})


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


def fates(dataset: Path, half: str) -> list[tuple[str, str, object, str]]:
    """Return address, reason, keeper and text of each document of one half."""
    found = [
        (each.metadata["url"], path.parent.name, each.metadata.get("duplicate_of"), each.text)
        for path in document_files(dataset)
        for each in read_documents(path)
        if each.metadata.get("half") == half
    ]
    return sorted(found, key=str)


@pytest.mark.parametrize("remove", ["never", "repeated"])
def test_against_an_earlier_dataset_goes_what_would_go_from_both_together(tmp_path: Path, remove):
    first, second = halves()
    write_files(tmp_path / "a-in", {"00000": first[:25], "00001": first[25:]})
    write_files(tmp_path / "b-in", {"00000": second[:20], "00001": second[20:]})
    write_files(tmp_path / "both-in", {"00000": second, "00001": first})
    config = DedupConfig(paragraphs=ParagraphConfig(remove=remove, min_words_left=1))
    against = config.model_copy(update={"against": [tmp_path / "a"]})

    build(tmp_path / "a", config, tmp_path / "a-in")
    build(tmp_path / "b", against, tmp_path / "b-in")
    build(tmp_path / "both", config, tmp_path / "both-in")

    found = fates(tmp_path / "b", "second")
    assert found == fates(tmp_path / "both", "second")
    assert fates(tmp_path / "b", "first") == [], "what was read again is not written again"
    assert {reason for _, reason, *_ in found} >= {"train", "same_url", "exact", "near"}
    shortened = ("http://example.org/some", "train", None, "Something of its own.")
    assert (shortened in found) == (remove == "repeated")


def test_earlier_datasets_are_named_by_their_manifests_and_missing_ones_are_told(tmp_path: Path):
    write_files(tmp_path / "in", {"00000": [document("a", STORY)]})
    build(tmp_path / "a", DedupConfig(), tmp_path / "in")

    assert dedup.inputs(DedupConfig(against=[tmp_path / "a"])) == [tmp_path / "a" / "manifest.json"]
    with pytest.raises(ConfigError, match=r"(?s)x: no manifest.json.*y: no manifest.json"):
        dedup.inputs(DedupConfig(against=[tmp_path / "x", tmp_path / "a", tmp_path / "y"]))


def test_an_earlier_dataset_that_lost_documents_is_refused(tmp_path: Path):
    write_files(tmp_path / "in", {"00000": [document("a", STORY)]})
    build(tmp_path / "a", DedupConfig(), tmp_path / "in")
    document_files(tmp_path / "a" / "kept")[0].unlink()

    with pytest.raises(FormatError, match="a: 0 documents in kept/dedup, but 1 by their manifests"):
        build(tmp_path / "b", DedupConfig(against=[tmp_path / "a"]), tmp_path / "in")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[Path, dict[str, bytes]]:
    """Return documents in three files, and what deduplication makes of them."""
    folder = tmp_path_factory.mktemp("undisturbed")
    documents = [*halves()[0], *halves()[1]]
    write_files(folder / "in", {f"{n:05d}": documents[n::3] for n in range(3)})
    return folder / "in", build(folder / "data", DedupConfig(), folder / "in")


def test_workers_parts_ranges_and_shares_change_nothing(tmp_path: Path, monkeypatch, undisturbed):
    source, expected = undisturbed

    assert build(tmp_path / "workers", DedupConfig(), source, workers=2) == expected
    monkeypatch.setattr(describe, "PART_DOCUMENTS", 7)
    monkeypatch.setattr(describe, "SLICE", 400)
    monkeypatch.setattr(near, "SHARE", 40)
    assert build(tmp_path / "pieces", DedupConfig(), source) == expected


KILLED = """
import sys
from pathlib import Path
from pipeline.data.dedup import DedupConfig
from tests.pipeline.data.corpora import build
build(Path(sys.argv[1]), DedupConfig(), Path(sys.argv[2]))
"""


def test_killed_in_every_pass_and_started_again_it_ends_as_if_undisturbed(tmp_path: Path, undisturbed):
    source, expected = undisturbed
    work = tmp_path / "data" / ".phases" / "dedup"
    codes = []

    for moment in ("described/00000", "order", "near-0", "counts/00000.json"):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "data"), str(source)])
        deadline = time.monotonic() + 60
        while not (work / moment).exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        process.kill()
        codes.append(process.wait())

    assert codes.count(-9) >= 2, "it was over before it could be killed"
    assert build(tmp_path / "data", DedupConfig(), source) == expected


def test_a_disk_that_is_full_again_and_again_delays_and_changes_nothing(small_disk, undisturbed):
    source, expected = undisturbed
    refused = 0
    for kilobytes in range(120, 2000, 120):
        small = small_disk(kilobytes)
        try:
            found = build(small / "data", DedupConfig(), source)
            break
        except (OSError, StageError):
            refused += 1

    assert found == expected
    assert refused >= 2, "it never met a full disk"


@pytest.mark.real_data
def test_planted_copies_are_found_as_theory_says(real_data: Path):
    lines = (real_data / "text" / "wiki_vital_summaries.jsonl").read_bytes().splitlines()
    config = DedupConfig(exact=False, paragraphs=ParagraphConfig(remove="never"))

    found = list(quality([orjson.loads(line)["text"] for line in lines], config))

    print(*found, sep="\n")  # noqa: T201 - the table is what is asked for: pytest -s
    for level in found:
        assert level.pairs == 2000
        assert level.candidates == pytest.approx(level.theory, abs=0.03)
        assert level.false_merges == 0
        assert level.recall == pytest.approx(level.expected_recall, abs=0.03)
