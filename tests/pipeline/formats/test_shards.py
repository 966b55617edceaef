from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import FormatError
from pipeline.formats.shards import Shard, ShardWriter, TokenShard, check_shard, dtype_for, index_path

DOCUMENTS = st.lists(st.lists(st.integers(0, 65_535), min_size=1, max_size=20), max_size=20)


def written(folder: Path, documents: list[list[int]], dtype: str = "uint16") -> Shard:
    writer = ShardWriter(folder / "shards" / "train-00000.ds", dtype)
    for document in documents:
        writer.write(document)
    return writer.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(documents=DOCUMENTS)
def test_what_is_written_is_read_back(tmp_path: Path, documents: list[list[int]]) -> None:
    shard = written(tmp_path, documents)
    read = TokenShard(tmp_path / shard.name, "uint16")

    assert read.tokens.tolist() == [token for document in documents for token in document]
    assert read.ends.tolist() == list(np.cumsum([len(document) for document in documents]))
    assert (shard.tokens, shard.documents) == (len(read.tokens), len(documents))
    check_shard(tmp_path, shard, "uint16")


def test_the_bytes_are_plain_little_endian_uint16_with_uint64_ends(tmp_path: Path) -> None:
    shard = written(tmp_path, [[1, 258], [3]])

    assert (tmp_path / shard.name).read_bytes() == bytes([1, 0, 2, 1, 3, 0])
    assert index_path(tmp_path / shard.name).read_bytes() == bytes([2, *[0] * 7, 3, *[0] * 7])


def test_a_large_vocabulary_takes_four_bytes() -> None:
    assert (dtype_for(65_536), dtype_for(65_537)) == ("uint16", "uint32")


def damage_length(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-2])


def damage_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[0] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize(
    ("damage", "said"),
    [(damage_length, "bytes, the manifest says"), (damage_bit, "sha256"), (Path.unlink, "missing")],
)
def test_a_damaged_shard_is_named_and_refused(tmp_path: Path, damage: object, said: str, index: bool) -> None:
    shard = written(tmp_path, [[1, 2], [3]])
    file = tmp_path / shard.name
    file = index_path(file) if index else file
    damage(file)  # type: ignore[operator]

    with pytest.raises(FormatError, match=rf"{file.name}: .*{said}"):
        check_shard(tmp_path, shard, "uint16")


def test_a_shard_that_disagrees_with_its_index_is_refused(tmp_path: Path) -> None:
    shard = written(tmp_path, [[1, 2], [3]])
    (tmp_path / shard.name).write_bytes(b"\x01\x00")

    with pytest.raises(FormatError, match="ends at token 3"):
        TokenShard(tmp_path / shard.name, "uint16")


def test_a_shard_of_an_odd_number_of_bytes_is_refused(tmp_path: Path) -> None:
    shard = written(tmp_path, [[1, 2], [3]])
    (tmp_path / shard.name).write_bytes(b"\x01\x00\x02")

    with pytest.raises(FormatError, match="3 bytes is no whole number of uint16"):
        TokenShard(tmp_path / shard.name, "uint16")


def test_an_unfinished_shard_is_not_there(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path / "shards" / "a.ds", "uint16")
    writer.write([1])
    assert not (tmp_path / "shards" / "a.ds").exists()

    writer.discard()

    assert list((tmp_path / "shards").iterdir()) == []


def test_a_shard_entry_can_be_compared(tmp_path: Path) -> None:
    shard = written(tmp_path, [[1]])

    assert shard != replace(shard, tokens=2)
