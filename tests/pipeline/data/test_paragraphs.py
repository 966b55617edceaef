from pathlib import Path

import numpy as np
import pytest

from pipeline.data import paragraphs
from pipeline.data.describe import Describe, Described
from pipeline.data.near import Bands
from pipeline.data.paragraphs import repeated_paragraphs
from tests.pipeline.data.conftest import document

FILES = [
    [document("a", "one\n\ntwo\n\none", karma=3), document("b", "two\n\nthree", karma=9)],
    [document("c", "three\n\nfour  four", karma=5), document("d", "four four\n\nfive", karma=1)],
]


@pytest.mark.parametrize("part", [1 << 20, 2])
def test_the_best_document_keeps_a_paragraph_and_its_own_repetition_goes(
    tmp_path: Path, monkeypatch, part: int
):
    monkeypatch.setattr(paragraphs, "PART", part)
    for rank, documents in enumerate(FILES):
        Describe(tmp_path, Bands())(documents, rank, 2)
    described = Described.read(tmp_path, 2)

    keepers = repeated_paragraphs(described, described.best_first(), np.ones(4, dtype=bool))

    assert keepers[0].tolist() == [
        -1,
        1,
        0,
        -1,
        -1,
    ]  # b, with most karma, keeps `two`; a repeats its own `one`
    assert keepers[1].tolist() == [1, -1, 2, -1]


def test_documents_that_are_gone_keep_nothing(tmp_path: Path):
    for rank, documents in enumerate(FILES):
        Describe(tmp_path, Bands())(documents, rank, 2)
    described = Described.read(tmp_path, 2)

    keepers = repeated_paragraphs(described, described.best_first(), np.array([True, False, True, True]))

    assert keepers[0].tolist() == [-1, -1, 0, -1, -1]
    assert keepers[1].tolist() == [-1, -1, 2, -1]
