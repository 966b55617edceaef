from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from model.tokenizer import gpt2, load
from pipeline.data import tokenize
from pipeline.data.documents import document_files, read_documents
from pipeline.data.phase import PhaseRun
from pipeline.data.tokenize import training_sample
from pipeline.data.tokenizers.gpt1 import Config as Gpt1
from pipeline.data.tokenizers.gpt2 import Config as Gpt2
from pipeline.data.tokenizers.train import Config as Train
from pipeline.errors import ConfigError
from pipeline.formats.shards import TokenShard
from tests.pipeline.data.conftest import document, write_files

TEXTS = [
    f"Page {number} tells of the rivers and of {'the sea and ' * (number % 5)}the hills."
    for number in range(40)
]


SMALL = Train(vocab_size=280)


def at(place: Path, phase: PhaseRun) -> PhaseRun:
    """Return the same phase in another dataset."""
    return replace(phase, dataset=place, source=place / "in", work=place / ".phases")


def build(folder: Path, texts: list[str] = TEXTS, files: int = 3) -> None:
    documents = [
        document(f"{number}", text, split="test" if number % 10 == 0 else "train")
        for number, text in enumerate(texts)
    ]
    for split in ("train", "test"):
        chosen = [each for each in documents if each.metadata["split"] == split]
        write_files(folder / "in" / split, {f"{rank:05d}": chosen[rank::files] for rank in range(files)})


def shards(folder: Path, dtype: str = "uint16") -> dict[str, TokenShard]:
    return {path.name: TokenShard(path, dtype) for path in sorted((folder / "shards").glob("*.ds"))}


def documents_of(shard: TokenShard) -> list[list[int]]:
    ends = [0, *shard.ends.tolist()]
    return [shard.tokens[start:end].tolist() for start, end in pairwise(ends)]


def test_every_text_comes_back_in_the_order_of_ids_each_with_its_end(tmp_path: Path, phase):
    build(tmp_path)

    counts = tokenize.run(Gpt2(), 10**6, None, phase("tokenize"))

    order = sorted(range(40), key=lambda number: document(f"{number}", "").id)
    expected = [TEXTS[number] for number in order if number % 10]
    found = documents_of(shards(tmp_path)["train-00000.ds"])
    tokenizer = gpt2()
    assert [tokenizer.decode(ids[:-1]) for ids in found] == expected
    assert {ids[-1] for ids in found} == {tokenizer.eot_id}
    assert (counts.documents_in, counts.documents_out) == (40, 40)


def test_a_special_token_in_a_page_is_text(tmp_path: Path, phase):
    build(tmp_path, ["one <|endoftext|> document", "another <|endoftext|>"])

    counts = tokenize.run(Train(vocab_size=257), 10**6, None, phase("tokenize"))

    for shard in shards(tmp_path).values():
        assert np.flatnonzero(shard.tokens == counts.extra["eot_id"]).tolist() == (shard.ends - 1).tolist()


def test_shards_are_cut_between_documents_and_lose_none(tmp_path: Path, phase):
    build(tmp_path)
    tokenize.run(SMALL, 10**6, None, phase("tokenize"))
    whole = documents_of(shards(tmp_path)["train-00000.ds"])
    build(tmp_path / "cut")

    tokenize.run(SMALL, 100, None, at(tmp_path / "cut", phase("tokenize")))

    parts = [shard for name, shard in shards(tmp_path / "cut").items() if name.startswith("train")]
    assert len(parts) > 3
    assert [ids for part in parts for ids in documents_of(part)] == whole


def test_files_and_workers_cannot_be_seen_in_the_shards(tmp_path: Path, phase):
    hashes = []
    for files, workers in ((1, 1), (5, 2)):
        place = tmp_path / f"{workers}"
        build(place, files=files)
        counts = tokenize.run(SMALL, 200, None, at(place, phase("tokenize", workers=workers)))
        hashes.append(
            [(shard["name"], shard["sha256"], shard["index_sha256"]) for shard in counts.extra["shards"]]
        )

    assert hashes[0] == hashes[1]
    assert len(hashes[0]) > 4


def test_a_trained_tokenizer_learns_from_the_training_split_and_is_saved(tmp_path: Path, phase):
    texts = ["xylophone " * 30 if number % 10 == 0 else "river and sea " * 30 for number in range(20)]
    build(tmp_path, texts)

    counts = tokenize.run(Train(vocab_size=262), 10**6, None, phase("tokenize"))

    tokenizer = load(tmp_path)
    assert tokenizer.fingerprint == counts.extra["tokenizer_fingerprint"]
    assert (tokenizer.vocab_size, counts.extra["vocab_size"]) == (262, 262)
    assert len(tokenizer.encode(" sea")) < len(tokenizer.encode(" xyl"))


def test_bytes_of_text_are_counted_by_split(tmp_path: Path, phase):
    build(tmp_path, ["äöü", "four four"])

    counts = tokenize.run(Train(vocab_size=257), 10**6, None, phase("tokenize"))

    assert counts.extra["seen"]["text_bytes"] == {"test": 6, "train": 9}


def test_the_sample_is_the_same_however_the_documents_lie_in_files(tmp_path: Path):
    build(tmp_path / "one", files=1)
    build(tmp_path / "many", files=7)

    samples = [
        list(training_sample(tmp_path / name / "in" / "train", most_bytes=600)) for name in ("one", "many")
    ]

    assert samples[0] == samples[1]
    assert 300 < sum(len(text.encode()) for text in samples[0]) <= 600


def test_a_vocabulary_that_the_texts_cannot_fill_is_a_fault_of_the_configuration(tmp_path: Path, phase):
    build(tmp_path, ["a", "b"])

    with pytest.raises(ConfigError, match="tokenizer: the texts support"):
        tokenize.run(SMALL, 10**6, None, phase("tokenize"))


def test_with_spans_every_document_is_whole_windows_of_its_own_text(tmp_path: Path, phase):
    texts = ["river " * number for number in range(1, 41)]
    build(tmp_path, texts)
    tokenizer = gpt2()
    lengths = [len(tokenizer.encode(text)) + 1 for text in texts]

    counts = tokenize.run(Gpt2(), 10**6, 8, phase("tokenize"))

    assert counts.dropped == {"shorter-than-a-span": sum(length < 8 for length in lengths)}
    assert counts.documents_in == counts.documents_out + sum(counts.dropped.values())
    assert counts.extra["tokens_left_out"] == sum(length % 8 for length in lengths)
    found = [ids for shard in shards(tmp_path).values() for ids in documents_of(shard)]
    assert sorted(map(len, found)) == sorted(length - length % 8 for length in lengths if length >= 8)
    for ids in found:
        assert (len(ids) % 8, ids[-1], tokenizer.eot_id in ids[:-1]) == (0, tokenizer.eot_id, False)
        assert ("river " * 40).startswith(tokenizer.decode(ids[:-1]))
    assert sum(counts.extra["seen"]["text_bytes"].values()) == sum(
        len(tokenizer.decode(ids[:-1])) for ids in found
    )


def test_a_document_shorter_than_a_span_is_kept_to_be_looked_at(tmp_path: Path, phase):
    build(tmp_path, ["a river", "the hills and the sea"])

    tokenize.run(Gpt2(), 10**6, 5, phase("tokenize"))

    (path,) = document_files(tmp_path / "dropped" / "tokenize" / "shorter-than-a-span")
    assert [each.text for each in read_documents(path)] == ["a river"]


def test_datatrove_reads_the_shards(tmp_path: Path, phase):
    from datatrove.utils.dataset import DatatroveFolderDataset

    build(tmp_path)
    tokenize.run(Gpt2(), 200, None, phase("tokenize"))
    ours = [shard for name, shard in shards(tmp_path).items() if name.startswith("train")]

    theirs = DatatroveFolderDataset(str(tmp_path / "shards"), 15, "train-*.ds", return_positions=True)

    windows = [shard.tokens[at : at + 16] for shard in ours for at in range(0, len(shard.tokens) - 15, 16)]
    assert len(ours) > 1 and len(theirs) == len(windows)
    assert [theirs[number]["input_ids"].tolist() for number in range(len(theirs))] == [
        window.tolist() for window in windows
    ]
    starts = np.flatnonzero(theirs[0]["positions"].numpy() == 0)
    assert starts.tolist() == [0, *(end for end in ours[0].ends.tolist() if end < 16)]


def test_nanogpt_reads_the_shards(tmp_path: Path, phase):
    build(tmp_path)
    tokenize.run(Gpt2(), 10**6, None, phase("tokenize"))

    data = np.memmap(tmp_path / "shards" / "train-00000.ds", dtype=np.uint16, mode="r")

    tokenizer = gpt2()
    order = sorted(
        (number for number in range(40) if number % 10), key=lambda each: document(f"{each}", "").id
    )
    stream = [id for number in order for id in (*tokenizer.encode(TEXTS[number]), tokenizer.eot_id)]
    assert data.astype(np.int64).tolist() == stream


@pytest.mark.real_data
def test_gpt1_makes_shards_of_books_in_its_windows(tmp_path: Path, phase, real_data: Path):
    build(tmp_path, ["The river reaches the sea, he said. " * number for number in range(1, 9)], files=1)

    counts = tokenize.run(Gpt1(files=str(real_data / "bpe" / "gpt1")), 10**6, 32, phase("tokenize"))

    assert (counts.extra["tokenizer"], counts.extra["vocab_size"]) == ("gpt1", 40_478)
    assert load(tmp_path).fingerprint == counts.extra["tokenizer_fingerprint"]
    ids = documents_of(shards(tmp_path)["train-00000.ds"])[0]
    assert load(tmp_path).decode(ids).startswith("the river reaches the sea , he said . the")
    assert len(ids) % 32 == 0


def test_gpt1_without_its_files_is_a_fault_of_the_configuration(tmp_path: Path, phase):
    build(tmp_path)

    with pytest.raises(ConfigError, match=r"tokenizer\.files: .*encoder_bpe_40000\.json.*; give a folder"):
        tokenize.run(Gpt1(files=str(tmp_path)), 10**6, 512, phase("tokenize"))
