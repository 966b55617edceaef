import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.linking import karma
from pipeline.data.linking.blocklists import Blocked
from pipeline.data.linking.linkparts import SCHEMA, Links
from pipeline.errors import StageError

RULE = {"karma": "max", "min_karma": 3}
# Prints the peak memory in KiB of a process that aggregates; rusage would count its parent's.
PEAK = r"""
import re, sys
from pathlib import Path
from pipeline.data.linking.karma import aggregate
aggregate(Path(sys.argv[1]), Path(sys.argv[2]), karma="max", min_karma=3, memory_limit="20MB", threads=1)
print(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
"""


def parts_of(folder: Path, rows: int, files: int = 4) -> Path:
    """Write parts of `rows` links, every tenth of them twice."""
    folder.mkdir()
    for file in range(files):
        links = Links(Blocked([]))
        for n in range(file, rows, files):
            assert (
                links.add(
                    f"http://example.com/{n - n % 10 // 9}/{'x' * 150}", n % 7, n % 7, 1, n, f"r{n % 3}"
                )
                is None
            )
        pq.write_table(links.table(), folder / f"{file}.parquet", row_group_size=1 << 12)
    return folder


def aggregated(tmp_path: Path, parts: Path, name: str, memory_limit: str, threads: int = 1) -> list[Path]:
    out = tmp_path / name
    out.mkdir()
    totals = karma.aggregate(parts, out, **RULE, memory_limit=memory_limit, threads=threads)
    assert totals["rows"] + totals["below"] == sum(
        len(pq.read_table(path)) for path in parts.glob("*.parquet")
    )
    return sorted(out.glob("*.parquet"))


def test_files_depend_neither_on_memory_nor_on_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(karma, "_FILE_ROWS", 10_000)
    parts = parts_of(tmp_path / "parts", 20_000)

    little, much = (
        aggregated(tmp_path, parts, "a", "16MB"),
        aggregated(tmp_path, parts, "b", "1GB", threads=2),
    )

    assert (
        [path.name for path in little] == [path.name for path in much] == ["00000.parquet", "00001.parquet"]
    )
    assert [pq.read_table(path) for path in little] == [pq.read_table(path) for path in much]


def test_memory_stays_the_same_when_links_are_four_times_as_many(tmp_path):
    peaks = []
    for rows in (30_000, 120_000):
        parts, out = parts_of(tmp_path / f"parts{rows}", rows), tmp_path / f"out{rows}"
        out.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", PEAK, parts, out], check=True, capture_output=True, text=True
        )
        peaks.append(int(done.stdout))

    text_bytes = 2 * 120_000 * len(f"http://example.com/100000/{'x' * 150}")
    assert 1024 * (peaks[1] - peaks[0]) < text_bytes / 5
    assert text_bytes / 2 > 20_000_000  # what was aggregated would not have fitted


def test_memory_that_does_not_suffice_is_told_with_the_remedy(tmp_path):
    with pytest.raises(StageError, match=r"raise links\.memory_limit"):
        aggregated(tmp_path, parts_of(tmp_path / "parts", 5000), "out", "1KB")


def test_no_rows_give_one_empty_file(tmp_path):
    parts = tmp_path / "parts"
    parts.mkdir()
    pq.write_table(pa.table([[] for _ in SCHEMA], schema=SCHEMA), parts / "0.parquet")

    (path,) = aggregated(tmp_path, parts, "out", "16MB")

    assert pq.read_table(path).schema == karma.SCHEMA


@pytest.mark.parametrize(
    ("text", "size_bytes"), [("1GB", 10**9), ("1.5 MB", 1_500_000), ("96MiB", 96 << 20), ("1 TiB", 1 << 40)]
)
def test_sizes_are_read_as_duckdb_reads_them(text, size_bytes):
    import duckdb

    assert karma.size_of(text) == size_bytes
    with duckdb.connect(config={"memory_limit": text}) as database, duckdb.connect() as other:
        other.execute(f"SET memory_limit = '{size_bytes}B'")
        asked = "SELECT current_setting('memory_limit')"
        assert database.execute(asked).fetchone() == other.execute(asked).fetchone()
