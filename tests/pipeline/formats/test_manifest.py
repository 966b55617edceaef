import json
from pathlib import Path

import pytest

from pipeline.errors import FormatError
from pipeline.formats.manifest import Manifest
from pipeline.formats.shards import ShardWriter


def dataset(folder: Path, ids: list[int] | None = None) -> Manifest:
    writer = ShardWriter(folder / "shards" / "train-00000.ds", "uint16")
    writer.write(ids or [1, 2, 0])
    manifest = Manifest(
        tokenizer="trained",
        tokenizer_fingerprint="abc",
        vocab_size=3,
        dtype="uint16",
        eot_id=0,
        splits={"train": (writer.close(),)},
        text_bytes={"train": 7},
    )
    manifest.write(folder)
    return manifest


def test_what_is_written_is_read_back_and_checks(tmp_path: Path) -> None:
    manifest = dataset(tmp_path)

    assert Manifest.read(tmp_path) == manifest
    manifest.check(tmp_path)
    assert manifest.tokens("train") == 3


def test_its_hash_follows_the_tokens(tmp_path: Path) -> None:
    assert dataset(tmp_path / "a").hash == dataset(tmp_path / "b").hash
    assert dataset(tmp_path / "c", [2, 1, 0]).hash != dataset(tmp_path / "a2").hash


def test_a_directory_without_a_manifest_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no manifest, so no whole dataset"):
        Manifest.read(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"), [("format", 99), ("format", None), ("splits", None), ("surprise", 1)]
)
def test_another_format_is_refused_with_what_was_expected(tmp_path: Path, key: str, value: object) -> None:
    dataset(tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))

    with pytest.raises(FormatError, match=r"manifest\.json: .*rebuild the dataset"):
        Manifest.read(tmp_path)


def test_an_unknown_split_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no split 'test' in this dataset; it has train"):
        dataset(tmp_path).tokens("test")
