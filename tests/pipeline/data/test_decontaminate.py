import random
from pathlib import Path

import pytest

from pipeline.data import decontaminate
from pipeline.data.decontaminate import DecontaminateConfig, HeldOut
from pipeline.data.documents import document_files, read_documents
from pipeline.data.words import ngram_hashes, normal_words, word_hashes
from pipeline.errors import ConfigError
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
    expected = {"ngrams": both, "percent_before": round(100 * own / both, 3), "percent_after": 0.0}
    assert counts.extra["overlap"] == {"test": expected}


def test_given_evaluation_texts_are_held_out_too(tmp_path: Path, phase):
    build(tmp_path, [f"{OWN}\n\n{SECRET}"], [])
    (tmp_path / "eval.txt").write_text(f"{OTHER}\n\n{SECRET}\n")
    config = DecontaminateConfig(min_words_left=5, against={"herons": tmp_path / "eval.txt"})

    counts = decontaminate.run(config, phase("decontaminate"))

    assert texts(tmp_path, "train") == [OWN]
    assert counts.extra["overlap"]["herons"]["percent_after"] == 0.0


def test_an_evaluation_file_that_is_not_there_is_named(tmp_path: Path, phase):
    build(tmp_path, [OWN], [])

    with pytest.raises(ConfigError, match=r"decontaminate\.against: .*gone\.txt: no such file"):
        decontaminate.run(DecontaminateConfig(against={"x": tmp_path / "gone.txt"}), phase("decontaminate"))


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

        shares = HeldOut(grams, 2).look_up(paragraphs).shares

        for paragraph, share in zip(paragraphs, shares, strict=True):
            pairs = list(zip(paragraph.split(), paragraph.split()[1:], strict=False))
            hits = sum(pair in set(zip(held_out, held_out[1:], strict=False)) for pair in pairs)
            assert share == pytest.approx(hits / max(1, len(pairs)))
