"""The filter's own account of itself; its rate of false positives is tested where corpora are built."""

import numpy as np
import pytest

from pipeline.formats.bloom import Bloom, elements_of, empty_field, insert, write_meta, write_part
from pipeline.formats.hashes import mixed


@pytest.mark.parametrize("elements", [0, 1, 500, 20_000])
def test_how_many_elements_there_are_is_told_from_the_bits(elements: int):
    field = empty_field(20_000, 1e-8)

    insert(field, mixed(np.arange(elements)), 1e-8)
    insert(field, mixed(np.arange(elements)), 1e-8)  # once more is not twice

    assert elements_of(field, 1e-8) == pytest.approx(elements, rel=0.02)


def test_a_filter_is_read_as_it_was_written(tmp_path):
    field = empty_field(100, 1e-8)
    insert(field, mixed(np.arange(100)), 1e-8)
    write_part(tmp_path, 0, field)
    write_meta(tmp_path, 8, 1e-8, [100])

    read = Bloom.read(tmp_path)

    assert (read.ngram, read.rate, read.elements) == (8, 1e-8, [100])
    assert read.contains(mixed(np.arange(200))).tolist() == [True] * 100 + [False] * 100
