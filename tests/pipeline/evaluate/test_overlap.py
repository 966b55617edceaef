"""What of a text the training documents have too."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from model import tokenizer as tokenizers
from pipeline.errors import StageError
from pipeline.evaluate import overlap
from pipeline.evaluate.overlap import SeenIn, shared, text_of, training_filter
from pipeline.evaluate.task import Setting
from pipeline.evaluate.tasks import held_out, last_word
from pipeline.formats import bloom
from pipeline.formats.hashes import ngram_hashes, normal_words, word_hashes
from pipeline.formats.manifest import Manifest

RATE = 1e-8


@pytest.fixture
def own_setting(dataset: Path, tmp_path: Path) -> Setting:
    """The dataset in a folder of this test's own, since a filter is left in it."""
    folder = shutil.copytree(dataset, tmp_path / "corpus", ignore=shutil.ignore_patterns(overlap.FOLDER))
    return Setting(corpus=folder, tokenizer=tokenizers.load(folder), n_ctx=64)


def hashes(text: str, n: int = 8) -> np.ndarray:
    return ngram_hashes(word_hashes(normal_words(text)), n)


def test_the_filter_knows_every_ngram_of_the_training_documents_and_no_other(own_setting):
    built = training_filter(own_setting, "train", 8, RATE)
    training = {int(each) for text in own_setting.documents("train") for each in hashes(text)}
    foreign = {int(each) for text in own_setting.documents("test") for each in hashes(text)} - training

    assert built.contains(np.array(sorted(training), dtype=np.uint64)).all()
    assert len(foreign) > 500
    assert not built.contains(np.array(sorted(foreign), dtype=np.uint64)).any()
    assert sum(built.elements) == pytest.approx(len(training), rel=0.02)


def test_a_filter_in_many_parts_says_the_same(own_setting, monkeypatch):
    monkeypatch.setattr(overlap, "_PART_BITS", 40_000)

    built = training_filter(own_setting, "train", 8, RATE)

    assert len(built.elements) > 3
    assert all(built.contains(hashes(text)).all() for text in own_setting.documents("train"))
    assert not built.contains(np.arange(1000, dtype=np.uint64)).any()


def test_a_filter_is_made_once_for_a_dataset(own_setting):
    training_filter(own_setting, "train", 8, RATE)
    (folder,) = (own_setting.dataset / overlap.FOLDER).iterdir()
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}

    training_filter(own_setting, "train", 8, RATE)

    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_the_filter_that_building_the_dataset_left_is_taken_if_it_is_of_this_dataset(own_setting):
    folder = own_setting.dataset / overlap.BUILT_WITH_DATASET
    folder.mkdir(parents=True)
    bloom.write_part(folder, 0, bloom.empty_field(0, RATE))
    bloom.write_meta(folder, 8, RATE, [0])

    assert training_filter(own_setting, "train", 8, RATE).folder != folder  # nobody noted it
    manifest = own_setting.dataset / "manifest.json"
    values = Manifest.read(own_setting.dataset)
    manifest.unlink()
    values.phases.append({"name": "decontaminate", "extra": {"bloom": {"elements": 0}}})
    values.write(own_setting.dataset)
    again = Setting(corpus=own_setting.dataset, tokenizer=own_setting.tokenizer, n_ctx=64)

    assert training_filter(again, "train", 8, RATE).folder == folder
    assert training_filter(again, "train", 5, RATE).folder != folder
    assert training_filter(again, "train", 8, RATE / 10).folder != folder


def test_a_filter_too_large_for_memory_is_refused_before_work_with_the_remedy(own_setting, monkeypatch):
    monkeypatch.setattr(overlap, "MOST_BYTES", 100)

    with pytest.raises(StageError, match="build the dataset with decontaminate.bloom"):
        training_filter(own_setting, "train", 8, RATE)


def test_a_dataset_that_cannot_be_written_is_named(own_setting):
    (own_setting.dataset / overlap.FOLDER).write_text("a file where the folder should be")

    with pytest.raises(StageError, match="decontaminate.bloom"):
        training_filter(own_setting, "train", 8, RATE)


def test_the_longest_shared_stretch_is_told(tmp_path):
    (tmp_path / "train.txt").write_text("a b c d. e f g x y z")
    text = "A b, c! Q. C d e f g; x"
    seen = SeenIn(hashes(text, 3), 3)
    seen.read(tmp_path / "train.txt")

    assert shared(text, 3, seen) == overlap.Shared(8, 5, "c d e f g x")
    assert shared("a b", 3, seen) == overlap.Shared(0, 0, "")


def test_ngrams_are_found_across_the_blocks_of_a_file_and_only_in_its_beginning(tmp_path, monkeypatch):
    monkeypatch.setattr(overlap, "_BLOCK_BYTES", 10)
    text = " ".join(f"word{n}" for n in range(40))
    (tmp_path / "train.txt").write_text(text + "\n")
    whole, part = SeenIn(hashes(text), 8), SeenIn(hashes(text), 8)

    whole.read(tmp_path / "train.txt")
    part.read(tmp_path / "train.txt", first_bytes=len(" ".join(f"word{n}" for n in range(20))))

    assert whole.contains(hashes(text)).all()
    assert part.contains(hashes(text)).sum() == 20 - 8 + 1
    assert not whole.contains(hashes("nothing of " * 10)).any()


def test_no_ngrams_are_sought_in_vain(tmp_path):
    (tmp_path / "train.txt").write_text("one two three")
    seen = SeenIn(hashes("too short"), 8)

    seen.read(tmp_path / "train.txt")

    assert seen.contains(hashes("one two three", 2)).tolist() == [False, False]


def test_the_text_of_an_example_is_what_the_task_holds_of_it_or_else_its_ids(setting):
    words, ids = last_word.Config(words=20).build(setting), held_out.Config().build(setting)
    passage = words.examples()[0]
    document = next(iter(setting.documents("validation")))

    assert text_of(words, passage, setting.tokenizer).startswith(passage.content.text)
    assert text_of(words, passage, setting.tokenizer).endswith(passage.content.word)
    assert text_of(ids, ids.examples()[0], setting.tokenizer) == document
