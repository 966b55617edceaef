import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.duplicates.arrays import write_array
from pipeline.data.duplicates.paragraphs import repeated_between, repeated_paragraphs

DOCUMENTS = st.lists(st.lists(st.integers(0, 5), max_size=4), max_size=6)


@given(DOCUMENTS, st.randoms())
def test_the_best_document_keeps_a_paragraph_and_its_own_repetition_goes(documents: list[list[int]], chance):
    places = chance.sample(range(len(documents)), len(documents))
    rows = [(paragraph, place) for place, each in zip(places, documents, strict=True) for paragraph in each]
    hashes = np.array([row[0] for row in rows], dtype=np.uint64)
    owners = np.array([row[1] for row in rows], dtype=np.uint32)

    found = repeated_paragraphs(hashes, owners, np.arange(len(rows)))

    expected, has_it = [], {}
    for number in sorted(range(len(rows)), key=lambda n: (rows[n][1], n)):
        if (paragraph := rows[number][0]) in has_it:
            expected.append((number, has_it[paragraph]))
        else:
            has_it[paragraph] = rows[number][1]
    assert found.tolist() == sorted(expected)


def test_the_paragraphs_of_a_file_are_gathered_from_all_ranges(tmp_path):
    numbers = np.arange(30, dtype=np.uint64)
    for index in range(3):
        pieces = repeated_paragraphs(np.zeros(10), np.full(10, index, np.uint32), numbers[index::3])
        write_array(tmp_path / f"{index:05d}", pieces)

    found = repeated_between(tmp_path, 3, 9)

    assert found["paragraph"].tolist() == [3, 4, 5, 6, 7, 8]
    assert found["keeper"].tolist() == [0, 1, 2, 0, 1, 2]
    assert repeated_between(tmp_path, 9, 9).tolist() == []
