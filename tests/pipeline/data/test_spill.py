from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.data import spill
from pipeline.data.spill import distinct, parts_of, spilling

HASHES = st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**63 - 1, 2**63, 2**64 - 1])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tasks=st.lists(st.lists(HASHES, max_size=30), min_size=1, max_size=3), parts=st.integers(1, 7))
def test_the_parts_together_are_the_distinct_hashes_in_order(
    tmp_path_factory: pytest.TempPathFactory, tasks: list[list[int]], parts: int
):
    folder = tmp_path_factory.mktemp("spill")
    for rank, hashes in enumerate(tasks):
        with spilling(folder, rank) as written:
            for start in range(0, len(hashes), 4):
                written.add(np.array(hashes[start : start + 4], dtype=np.uint64))
                written.end_run()

    read = [int(each) for part in range(parts) for each in distinct(folder, part, parts)]

    assert read == sorted({each for hashes in tasks for each in hashes})


def test_runs_go_to_disk_as_they_fill_and_a_repeated_task_writes_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(spill, "RUN", 10)
    monkeypatch.setattr(spill, "PART", 16)

    for _ in range(2):
        with spilling(tmp_path, 7) as written:
            for start in range(0, 35, 5):
                written.add(np.arange(start, start + 5, dtype=np.uint64))

    assert [path.name for path in sorted(tmp_path.iterdir())] == [f"00007-{run:05d}.npy" for run in range(4)]
    assert parts_of(tmp_path) == 3
