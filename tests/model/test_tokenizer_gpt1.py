"""Ids against the published algorithm, written out plainly here over spaCy and ftfy."""

import json
import re
import threading
from collections import Counter
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import ftfy
import pytest
from spacy.lang.en import English
from transformers import AutoTokenizer

from model.tokenizer import load
from model.tokenizer_gpt1 import Gpt1Tokenizer, gpt1, standardize

LETTERS = "abcdefghijklmnopqrstuvwxyz.,-'\"?!"
MERGES = [
    ("t", "h"),
    ("th", "e</w>"),
    ("i", "n"),
    ("in", "g</w>"),
    ("o", "u</w>"),
    ("s", "e"),
    ("se", "a</w>"),
]


def small() -> Gpt1Tokenizer:
    pieces = ["<unk>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS), *map("".join, MERGES), "\n</w>"]
    return Gpt1Tokenizer("small", {piece: id for id, piece in enumerate(pieces)}, MERGES)


class Published:
    """OpenAI's `TextEncoder` (2018): as slow and as plain as it was."""

    def __init__(self, folder: Path):
        self.ids = json.loads((folder / "encoder_bpe_40000.json").read_text(encoding="utf-8"))
        lines = (folder / "vocab_40000.bpe").read_text(encoding="utf-8").split("\n")[1:-1]
        self.ranks = {tuple(line.split()): rank for rank, line in enumerate(lines)}
        self.split = English().tokenizer
        self.pieces = cache(self._pieces)

    def encode(self, text: str) -> list[tuple[str, list[int]]]:
        words = [token.text.lower() for token in self.split(self.clean(text))]
        return [(word, [self.ids.get(piece, 0) for piece in self.pieces(word)]) for word in words]

    def clean(self, text: str) -> str:
        text = ftfy.fix_text(text)
        for dash in "—–―":
            text = text.replace(dash, "-")
        text = text.replace("…", "...").replace("´", "'")
        for mark in '-~!";?+,)(\\/*[]}{|_':
            text = re.sub(f"({re.escape(mark)}+)", r" \1 ", text)
        return re.sub(r"[^\S\n]+", " ", re.sub(r"\s*\n\s*", " \n ", text)).strip()

    def _pieces(self, word: str) -> list[str]:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            pairs = list(zip(parts, parts[1:], strict=False))
            best = min(pairs, key=lambda pair: self.ranks.get(pair, len(self.ranks)))
            if best not in self.ranks:
                break
            joined, at = [], 0
            while at < len(parts):
                here = tuple(parts[at : at + 2]) == best
                joined.append("".join(best) if here else parts[at])
                at += 2 if here else 1
            parts = joined
        return ["\n</w>"] if parts == ["\n", " </w>"] else parts


def test_words_are_put_into_lower_case_and_cut_into_pieces():
    tokenizer = small()

    ids = tokenizer.encode("The sea, thinking of YOU.\n\nIt ends…")

    assert tokenizer.decode(ids) == "the sea , thinking of you . \nit ends ... "
    assert len(tokenizer.encode("the")) == len(tokenizer.encode("Sea")) == 1
    assert tokenizer.encode_array("The sea").tolist() == tokenizer.encode("the sea")


def test_punctuation_is_set_apart_and_spaces_are_made_one():
    assert standardize(' a--b  "c"\r\n\n d…\t(e)') == 'a -- b " c " \n d... ( e )'


def test_a_character_outside_the_vocabulary_is_unknown_and_so_is_the_end_of_text():
    tokenizer = small()

    assert tokenizer.eot_id == 0
    assert tokenizer.encode("日") == [0]
    assert 0 not in tokenizer.encode("an unk")


def test_bytes_add_up_to_the_text_that_the_ids_stand_for():
    tokenizer = small()
    ids = tokenizer.encode("Thinking of the sea\nand of ships")

    lengths = tokenizer.byte_lengths()
    assert sum(lengths[id] for id in ids) == len(tokenizer.decode(ids).encode())
    assert lengths[tokenizer.eot_id] == 0


def test_what_is_saved_is_loaded(tmp_path: Path):
    tokenizer = small()
    tokenizer.save(tmp_path)

    loaded = load(tmp_path)

    assert (loaded.name, loaded.fingerprint) == ("small", tokenizer.fingerprint)
    assert loaded.encode("They sing of the sea.") == tokenizer.encode("They sing of the sea.")


def test_another_order_of_merges_is_another_tokenizer():
    one = small()
    pieces = {**one._vocabulary}

    assert Gpt1Tokenizer("small", pieces, MERGES[::-1]).fingerprint != one.fingerprint


def test_transformers_reads_what_was_saved_as_openai_gpt(tmp_path: Path):
    tokenizer = small()
    tokenizer.save(tmp_path)

    theirs = AutoTokenizer.from_pretrained(tmp_path)

    assert type(theirs).__name__ == "OpenAIGPTTokenizer"
    assert (len(theirs), theirs.unk_token_id) == (tokenizer.vocab_size, 0)
    assert theirs("The sea is thinking, you.")["input_ids"] == tokenizer.encode("The sea is thinking, you.")


def test_a_tokenizer_whose_words_end_otherwise_is_refused_by_name(tmp_path: Path):
    small().save(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text(path.read_text().replace('"end_of_word_suffix": "</w>"', '"end_of_word_suffix": "@"'))

    with pytest.raises(ValueError, match="tokenizer.json: not a BPE tokenizer of GPT-1's kind"):
        load(tmp_path)


def test_files_that_are_not_the_published_ones_are_refused(tmp_path: Path):
    (tmp_path / "encoder_bpe_40000.json").write_text("{}")
    (tmp_path / "vocab_40000.bpe").write_text("#version: 0.2\n")

    with pytest.raises(
        ValueError, match="encoder_bpe_40000.json: sha256 .* but the published file has fdf49b19"
    ):
        gpt1(tmp_path)


def test_files_from_an_address_are_checked_too(tmp_path: Path):
    (tmp_path / "encoder_bpe_40000.json").write_text("{}")
    (tmp_path / "vocab_40000.bpe").write_text("#version: 0.2\n")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            with pytest.raises(ValueError, match="http://.*/encoder_bpe_40000.json: sha256"):
                gpt1(f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()


@pytest.mark.real_data
def test_the_published_vocabulary(real_data: Path):
    tokenizer = gpt1(real_data / "bpe" / "gpt1")

    assert tokenizer.vocab_size == 40_478
    assert tokenizer.decode(tokenizer.encode("Rivers reach the sea.")) == "rivers reach the sea . "


@pytest.mark.real_data
@pytest.mark.parametrize("size", [200_000, pytest.param(5_000_000, marks=pytest.mark.slow)])
def test_ids_are_those_of_the_published_algorithm(real_data: Path, size: int):
    folder = real_data / "bpe" / "gpt1"
    ours, theirs = gpt1(folder), Published(folder)
    book = (real_data / "text" / "warandpeace.txt").read_text(encoding="utf-8")
    lines = (real_data / "text" / "wiki_vital_summaries.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    texts = ["".join(texts)[: size // 2], book[: size // 2]]

    words, differing = 0, Counter()
    for text in texts:
        expected = theirs.encode(text)
        words += len(expected)
        found = [(word, tuple(ours._pieces(word))) for word in ours._words(text)]
        differing += Counter((word, tuple(ids)) for word, ids in expected) - Counter(found)
        assert ours.encode(text) == [id for _, ids in found for id in ids]
        assert differing or ours.encode(text) == [id for _, ids in expected for id in ids]

    assert differing.total() <= words / 100_000, differing
