from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.duplicates.arrays import between, mapped, new_mapped, numbered, write_array
from pipeline.formats.publish import publishing

RECORD = np.dtype([("key", "<u8"), ("row", "<u4")])
ENDS = (0, 1, 2, 2**63, 2**64 - 2, 2**64 - 1)


@pytest.mark.parametrize("count", [0, 3])
def test_what_was_written_is_what_is_mapped(tmp_path: Path, count: int):
    values = np.arange(count, dtype=np.uint32)
    write_array(tmp_path / "written", values)
    made = new_mapped(tmp_path / "made", np.uint32, count)
    made[:] = values
    del made

    assert mapped(tmp_path / "written", np.uint32).tolist() == values.tolist()
    assert mapped(tmp_path / "made", np.uint32).tolist() == values.tolist()


def test_a_disk_without_room_is_told_before_anything_is_written_to_memory(tmp_path: Path):
    with pytest.raises(OSError, match="(No space left|File too large)"):
        new_mapped(tmp_path / "made", np.uint64, 1 << 58)


@given(st.lists(st.sampled_from(ENDS)), st.sampled_from(ENDS), st.sampled_from(ENDS))
def test_between_finds_exactly_the_records_of_the_range(
    tmp_path_factory, keys: list[int], low: int, high: int
):
    records = np.array([(key, row) for row, key in enumerate(sorted(keys))], dtype=RECORD)
    path = tmp_path_factory.mktemp("between") / "records"
    write_array(path, records)

    found = between(path, RECORD, low, high, "key")

    assert found.tolist() == [each for each in records.tolist() if low <= each[0] <= high]


def test_the_draft_of_a_killed_task_is_nothing_that_was_published(tmp_path: Path):
    for rank in (10, 2):
        write_array(tmp_path / f"{rank:05d}", np.arange(3))
    with publishing(tmp_path / "00003") as draft:
        draft.write_bytes(b"half")

        assert numbered(tmp_path) == [tmp_path / "00002", tmp_path / "00010"]
