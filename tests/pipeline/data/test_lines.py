import bz2
import gzip
import hashlib
import lzma
import sys
import tracemalloc
from itertools import chain
from pathlib import Path

import pytest

from pipeline.data import lines as module
from pipeline.data.lines import FileReport, read_lines

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHECKED = {zstd.CompressionParameter.checksum_flag: 1}
COMPRESS = {
    ".zst": lambda data: zstd.compress(data, options=CHECKED),
    ".xz": lzma.compress,
    ".bz2": lambda data: bz2.compress(data, 1),
    ".gz": gzip.compress,
    "": bytes,
}
COMPRESSED = [suffix for suffix in COMPRESS if suffix]
# Lines that do not compress well, so that a place in the file is a place in the text.
LINES = [hashlib.sha256(b"%d" % n).hexdigest().encode() for n in range(6_000)]
TEXT = b"\n".join(LINES) + b"\n"


def read(path: Path) -> tuple[list[bytes], FileReport]:
    report = FileReport(str(path))
    found = list(read_lines(path, report, lambda _: None))
    numbers = [first for first, lines in found if lines]
    assert numbers == sorted(set(numbers))
    return list(chain.from_iterable(lines for _, lines in found)), report


def written(tmp_path: Path, data: bytes, suffix: str = "") -> Path:
    path = tmp_path / f"lines{suffix}"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("suffix", COMPRESS)
def test_lines_are_read_in_every_compression_and_all_bytes_are_told(tmp_path, suffix):
    path = written(tmp_path, COMPRESS[suffix](TEXT), suffix)
    told: list[int] = []
    report = FileReport(str(path))

    found = [line for _, lines in read_lines(path, report, told.append) for line in lines]

    assert found == LINES
    assert (report.lines, report.fault, report.has_checksums) == (len(LINES), None, True)
    assert sum(told) == path.stat().st_size


@pytest.mark.parametrize("suffix", COMPRESSED)
def test_several_streams_in_a_file_are_all_read(tmp_path, suffix):
    parts = [COMPRESS[suffix](part) for part in (TEXT, b"", TEXT)]

    found, report = read(written(tmp_path, b"".join(parts), suffix))

    assert (found, report.fault) == (LINES * 2, None)


@pytest.mark.parametrize("suffix", COMPRESSED)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_file_cut_off_is_named_and_what_came_before_is_read(tmp_path, suffix, share):
    data = COMPRESS[suffix](TEXT)

    found, report = read(written(tmp_path, data[: int(len(data) * share)], suffix))

    assert len(LINES) * (share - 0.35) < len(found) + 1 < len(LINES)  # bz2 works in blocks of a quarter
    assert found[:-1] == LINES[: max(0, len(found) - 1)]
    assert f"lines{suffix}" in str(report.fault)


@pytest.mark.parametrize("suffix", COMPRESSED)
def test_a_flipped_bit_never_passes_unseen(tmp_path, suffix):
    lines = LINES[:600]
    data = COMPRESS[suffix](b"\n".join(lines) + b"\n")
    silent = []
    for place in range(0, len(data), len(data) // 100):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        found, report = read(written(tmp_path, bytes(damaged), suffix))
        if report.fault is None and found != lines:
            silent.append(place)

    assert silent == []


def test_a_file_without_checksums_is_told(tmp_path):
    _, report = read(written(tmp_path, zstd.compress(TEXT), ".zst"))

    assert not report.has_checksums


@pytest.mark.parametrize("suffix", COMPRESSED)
def test_what_follows_the_last_stream_and_is_none_is_a_fault(tmp_path, suffix):
    found, report = read(written(tmp_path, COMPRESS[suffix](TEXT) + b"something else", suffix))

    assert found == LINES
    assert report.fault is not None


@pytest.mark.parametrize("suffix", COMPRESSED)
def test_zeros_after_a_stream_are_padding(tmp_path, suffix):
    padding = b"\0" * (module._CHUNK_BYTES + 4)  # also where they fill what is read at once

    found, report = read(written(tmp_path, COMPRESS[suffix](TEXT) + padding, suffix))

    assert (found, report.fault) == (LINES, None)


@pytest.mark.parametrize("suffix", [".xz", ".zst"])
def test_a_stream_after_much_padding_is_read(tmp_path, suffix):
    stream, padding = COMPRESS[suffix](TEXT), b"\0" * (2 * module._CHUNK_BYTES)

    assert read(written(tmp_path, stream + padding + stream, suffix))[0] == LINES * 2


@pytest.mark.parametrize("suffix", COMPRESSED)
def test_what_is_not_as_its_name_says_is_a_fault(tmp_path, suffix):
    found, report = read(written(tmp_path, b"these are no compressed bytes", suffix))

    assert found == []
    assert f"lines{suffix}" in str(report.fault)


@pytest.mark.parametrize("suffix", COMPRESS)
def test_an_empty_file_has_no_lines(tmp_path, suffix):
    found, report = read(written(tmp_path, b"", suffix))

    assert (found, report.lines, report.fault) == ([], 0, None)


def test_the_longest_window_is_read(tmp_path):
    long_window = {
        zstd.CompressionParameter.window_log: 31,
        zstd.CompressionParameter.enable_long_distance_matching: 1,
    }

    found, report = read(written(tmp_path, zstd.compress(TEXT, options=long_window), ".zst"))

    assert (found, report.fault) == (LINES, None)


def test_a_line_of_100_megabytes_is_left_behind_in_little_memory(tmp_path):
    data = b"before\n" + b"x" * 100_000_000 + b"\nafter\n" + b"y" * 20_000_000
    path = written(tmp_path, COMPRESS[".zst"](data), ".zst")
    del data
    tracemalloc.start()

    found, report = read(path)

    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 5 * module.MAX_LINE_BYTES
    assert found == [b"before", b"after"]
    assert (report.lines, report.dropped) == (4, {"line-too-long": 2})


def test_a_mark_of_byte_order_is_no_part_of_the_first_line(tmp_path):
    assert read(written(tmp_path, b"\xef\xbb\xbfa\nb"))[0] == [b"a", b"b"]


def test_the_number_of_a_line_counts_those_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_LINE_BYTES", 10)
    monkeypatch.setattr(module, "_CHUNK_BYTES", 4)
    path = written(tmp_path, b"a\n" + b"x" * 50 + b"\nb\nc")

    found = {
        line: first + place
        for first, lines in read_lines(path, FileReport(""), lambda _: None)
        for place, line in enumerate(lines)
    }

    assert found == {b"a": 1, b"b": 3, b"c": 4}
