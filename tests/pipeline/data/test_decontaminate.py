import gzip
import random
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import dump, load
from pipeline.data import decontaminate, spill
from pipeline.data.contamination.heldout import HeldOut, texts_of
from pipeline.data.contamination.overlap import told
from pipeline.data.decontaminate import DecontaminateConfig
from pipeline.data.documents import document_files, read_documents
from pipeline.errors import ConfigError, FormatError, StageError
from pipeline.formats.bloom import Bloom
from pipeline.formats.hashes import ngram_hashes, normal_words, word_hashes
from tests.pipeline.data.conftest import document, write_files

SECRET = "the seven grey herons of the lower lake sleep standing on one leg until dawn"
OWN = "a paragraph of the training document that stands nowhere else in the world"
OTHER = "and a second one with as many words that nobody else has written down"


def build(folder: Path, train: list[str], test: list[str]) -> None:
    for split, texts in (("train", train), ("test", test)):
        documents = [document(f"{split}-{n}", text, split=split) for n, text in enumerate(texts)]
        write_files(folder / "in" / split, {"00000": documents})


def texts(folder: Path, split: str) -> list[str]:
    return [
        each.text
        for file in document_files(folder / "kept" / "decontaminate" / split)
        for each in read_documents(file)
    ]


def test_a_held_out_paragraph_leaves_training_and_the_rest_stays(tmp_path: Path, phase):
    build(
        tmp_path,
        [f"{OWN}\n\n{SECRET.upper()}!\n\n{OTHER}"],
        [SECRET],
    )

    counts = decontaminate.run(DecontaminateConfig(min_words_left=5), phase("decontaminate"))

    assert texts(tmp_path, "train") == [f"{OWN}\n\n{OTHER}"]
    assert texts(tmp_path, "test") == [SECRET]
    assert counts.extra["paragraphs_removed"] == 1
    [removed] = read_documents(tmp_path / "dropped" / "decontaminate" / "paragraphs" / "00001.jsonl.zst")
    assert "SEVEN GREY HERONS" in removed.text


def test_a_document_with_too_little_left_goes(tmp_path: Path, phase):
    build(tmp_path, [f"{SECRET}\n\nshort rest", OWN], [SECRET])

    counts = decontaminate.run(DecontaminateConfig(min_words_left=5), phase("decontaminate"))

    assert (texts(tmp_path, "train"), counts.dropped) == ([OWN], {"little_left": 1})


@pytest.mark.parametrize(("overlap", "stays"), [(0.5, True), (0.1, False), (None, True)])
def test_the_share_of_ngrams_decides(tmp_path: Path, phase, overlap: float | None, stays: bool):
    diluted = f"{SECRET} {OWN} {OTHER}"  # 8 of its 34 8-grams are held out
    build(tmp_path, [f"{diluted}\n\n{OWN}"], [SECRET])

    decontaminate.run(
        DecontaminateConfig(paragraph_overlap=overlap, min_words_left=5), phase("decontaminate")
    )

    assert (diluted in texts(tmp_path, "train")[0]) == stays


def test_overlap_is_told_before_and_after(tmp_path: Path, phase):
    build(tmp_path, [f"{SECRET}\n\n{OWN}"], [SECRET, OTHER])

    counts = decontaminate.run(DecontaminateConfig(min_words_left=5), phase("decontaminate"))

    own = len(normal_words(SECRET)) - 7
    both = own + len(normal_words(OTHER)) - 7
    expected = {
        "ngrams": both,
        "distinct": both,
        "percent_before": round(100 * own / both, 3),
        "percent_after": 0.0,
    }
    assert counts.extra["overlap"] == {"test": expected}


def test_given_evaluation_texts_are_held_out_too(tmp_path: Path, phase):
    build(tmp_path, [f"{OWN}\n\n{SECRET}"], [])
    (tmp_path / "eval.txt").write_text(f"{OTHER}\n\n{SECRET}\n")
    config = DecontaminateConfig(min_words_left=5, against={"herons": tmp_path / "eval.txt"})

    counts = decontaminate.run(config, phase("decontaminate"))

    assert texts(tmp_path, "train") == [OWN]
    assert counts.extra["overlap"]["herons"]["percent_after"] == 0.0


def test_all_evaluation_files_that_are_not_there_are_named_at_once(tmp_path: Path):
    (tmp_path / "here.txt").write_text(OTHER)
    against = {
        "x": {"test": tmp_path / "gone.txt", "train": tmp_path / "lost.gz"},
        "y": tmp_path / "here.txt",
    }

    with pytest.raises(ConfigError) as caught:
        decontaminate.inputs(DecontaminateConfig(against=against))

    assert [problem.split(";")[0] for problem in caught.value.problems] == [
        f"decontaminate.against.x.test: {tmp_path}/gone.txt: no such file",
        f"decontaminate.against.x.train: {tmp_path}/lost.gz: no such file",
    ]


@pytest.mark.parametrize("name", ["test", "a/b", ""])
def test_a_set_has_a_name_of_its_own(name: str):
    with pytest.raises(ValueError, match="choose a name"):
        DecontaminateConfig(against={name: "x.txt"})


def test_a_configuration_with_sets_is_the_same_after_it_was_written_and_read(tmp_path: Path):
    config = DecontaminateConfig(against={"a": "a.txt", "b": {"test": ["b", "c"], "train": "d"}})
    (tmp_path / "c.yaml").write_text(dump(config))

    assert load(DecontaminateConfig, tmp_path / "c.yaml") == config


def test_a_document_with_too_many_held_out_ngrams_goes_whole_and_says_whose_they_are(tmp_path: Path, phase):
    diluted = f"{SECRET} {OWN} {OTHER}"  # 8 of its 34 8-grams are held out
    build(tmp_path, [diluted, OWN], [])
    (tmp_path / "herons.txt").write_text(SECRET)
    (tmp_path / "others.txt").write_text("nothing of this stands in any of the training documents at all")
    against = {"herons": tmp_path / "herons.txt", "others": tmp_path / "others.txt"}
    config = DecontaminateConfig(document_overlap=0.2, paragraph_overlap=None, against=against)

    counts = decontaminate.run(config, phase("decontaminate"))

    assert (texts(tmp_path, "train"), counts.dropped) == ([OWN], {"overlap": 1})
    assert counts.extra["removed_for"] == {"herons": 1}
    [gone] = read_documents(tmp_path / "dropped" / "decontaminate" / "overlap" / "00001.jsonl.zst")
    assert gone.metadata["held_out_in"] == ["herons"]


def test_overlap_with_its_own_training_set_is_told_by_occurrence(tmp_path: Path, phase):
    build(tmp_path, [OWN], [])
    (tmp_path / "test.txt").write_text(f"{SECRET}\n\n{SECRET}\n\n{OTHER}")  # 8, the same 8 and 7 8-grams
    with gzip.open(tmp_path / "train-1.txt.gz", "wt") as file:
        file.write(f"{OWN}\n\n{SECRET}")
    (tmp_path / "train-2.jsonl").write_text('{"question": "why?", "answers": ["because"]}\n')
    against = {"herons": {"test": tmp_path / "test.txt", "train": str(tmp_path / "train-*")}}

    counts = decontaminate.run(DecontaminateConfig(against=against), phase("decontaminate"))

    row = counts.extra["overlap"]["herons"]
    assert (row["ngrams"], row["distinct"]) == (23, 15)
    assert row["percent_own_training"] == pytest.approx(100 * 16 / 23, abs=0.001)
    assert row["percent_before"] == 0


def test_a_row_without_text_is_all_its_strings(tmp_path: Path):
    (tmp_path / "x.jsonl").write_text('{"a": ["one", {"b": "two"}], "n": 3}\n{"text": "three", "a": "no"}\n')

    assert list(texts_of(tmp_path / "x.jsonl")) == ["one", "two", "three"]


def test_a_cut_off_evaluation_file_is_named(tmp_path: Path):
    (tmp_path / "x.txt.gz").write_bytes(gzip.compress(SECRET.encode() * 1000)[:-20])

    with pytest.raises(FormatError, match=r"x\.txt\.gz: cannot be read to its end"):
        list(texts_of(tmp_path / "x.txt.gz"))


def test_the_bloom_filter_says_what_the_exact_count_says(tmp_path: Path, phase, monkeypatch):
    monkeypatch.setattr(spill, "PART", 100)  # several parts
    chance = random.Random(1)
    train = [" ".join(f"w{chance.randrange(50)}" for _ in range(60)) for _ in range(20)]
    build(tmp_path, train, [f"{train[3][:100]} {OWN}", OTHER])
    config = DecontaminateConfig(paragraph_overlap=None, bloom={})

    counts = decontaminate.run(config, phase("decontaminate"))

    row, told = counts.extra["overlap"]["test"], counts.extra["bloom"]
    assert 0 < row["percent_before"] < 100
    assert row["percent_bloom"] == row["percent_after"] == row["percent_before"]
    assert (told["elements"], told["foreign_found"], told["parts"]) == (20 * 53, 0, 11)
    kept = Bloom.read(tmp_path / "kept" / "decontaminate" / "bloom")
    assert kept.contains(ngram_hashes(word_hashes(normal_words(train[0])), 8)).all()


def test_a_bloom_filter_that_is_too_large_is_refused_before_it_is_built(tmp_path: Path, phase):
    build(tmp_path, [OWN], [])
    config = DecontaminateConfig(bloom={"max_bytes": 10})

    with pytest.raises(StageError, match=r"Bloom filter of 6 n-grams .*max_bytes is .*: raise it"):
        decontaminate.run(config, phase("decontaminate"))

    assert not (tmp_path / "kept" / "decontaminate" / "bloom").exists()
    enough = DecontaminateConfig(bloom={"max_bytes": 100})
    assert decontaminate.run(enough, phase("decontaminate")).extra["bloom"]["elements"] == 6


def test_the_table_has_a_line_for_each_set_and_the_columns_that_are_known():
    table = {"a": {"ngrams": 1200, "percent_before": 1.634, "percent_after": 0.0}}

    header, line = told(table, 8).splitlines()

    assert header.split() == ["overlap", "8-grams", "corpus", "%", "after", "removal", "%"]
    assert line.split() == ["a", "1,200", "1.63", "0.00"]


def test_without_held_out_documents_everything_stays(tmp_path: Path, phase):
    build(tmp_path, [OWN, OTHER], [])

    assert decontaminate.run(DecontaminateConfig(), phase("decontaminate")).documents_out == 2


def test_shares_are_those_of_a_count_paragraph_by_paragraph():
    chance = random.Random(4)
    words = [f"w{number}" for number in range(12)]
    for _ in range(200):
        held_out = chance.choices(words, k=30)
        paragraphs = [
            " ".join(chance.choices(words, k=chance.randint(0, 15))) for _ in range(chance.randint(1, 6))
        ]
        grams = ngram_hashes(word_hashes(held_out), 2)
        grams.sort()

        shares = HeldOut(grams, np.zeros_like(grams), [], 2).look_up(paragraphs).shares

        for paragraph, share in zip(paragraphs, shares, strict=True):
            pairs = list(zip(paragraph.split(), paragraph.split()[1:], strict=False))
            hits = sum(pair in set(zip(held_out, held_out[1:], strict=False)) for pair in pairs)
            assert share == pytest.approx(hits / max(1, len(pairs)))


@pytest.mark.real_data
def test_real_evaluation_sets_overlap_with_other_releases_of_themselves_and_not_with_other_sets(
    real_data: Path, tmp_path: Path, phase
):
    sets = real_data / "eval"
    against = {
        "lambada": {
            "test": str(sets / "lambada/lambada_test.jsonl"),
            "train": str(sets / "lambada/lambada_openai_llmfoundry.jsonl"),
        },
        "wikitext2": {  # the same text, as it is and with its rare words replaced by <unk>
            "test": str(sets / "wikitext2/tokens/test.txt"),
            "train": str(sets / "wikitext2/raw/wiki.test.raw"),
        },
        "race": {
            "test": str(sets / "race/test_middle.jsonl"),
            "train": str(sets / "wikitext2/tokens/valid.txt"),
        },
    }

    counts = decontaminate.run(DecontaminateConfig(against=against), phase("decontaminate"))

    percent = {name: row["percent_own_training"] for name, row in counts.extra["overlap"].items()}
    assert percent["lambada"] > 90
    assert 50 < percent["wikitext2"] < 70  # one <unk> costs eight 8-grams
    assert percent["race"] < 0.5
