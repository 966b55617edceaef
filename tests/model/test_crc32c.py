"""The sum against its published values and against its definition."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.crc32c import crc32c, unmask


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
    ],
)
def test_published_sums(content, expected):
    """RFC 3720, appendix B.4, and the check value of the catalogues."""
    assert crc32c(content) == expected


def bit_by_bit(content: bytes) -> int:
    state = 0xFFFFFFFF
    for byte in content:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=3000))
def test_lanes_change_nothing(content):
    assert crc32c(content) == bit_by_bit(content)


def test_a_flipped_bit_changes_the_sum_of_a_large_array():
    content = bytearray(range(256)) * 4096
    assert crc32c(bytes(content)) == 0x7D25B26D  # by the common table of 256 entries, a byte a step

    content[777_777] ^= 4

    assert crc32c(bytes(content)) != 0x7D25B26D


def test_the_mask_of_leveldb_is_undone():
    for crc in (0, 1, 0xE3069283, 0xFFFFFFFF):
        masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
        assert unmask(masked) == crc
