import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.duplicates.exact import exact_duplicates


@given(st.lists(st.integers(0, 4), max_size=20), st.randoms())
def test_of_each_group_the_one_with_the_lowest_place_stays(keys: list[int], chance):
    places = chance.sample(range(len(keys)), len(keys))

    gone, keepers = exact_duplicates(np.array(keys, dtype=np.uint64), np.array(places, dtype=np.uint32))

    best = {
        key: min(place for other, place in zip(keys, places, strict=True) if other == key) for key in keys
    }
    expected = {place: best[key] for key, place in zip(keys, places, strict=True) if place != best[key]}
    assert dict(zip(gone.tolist(), keepers.tolist(), strict=True)) == expected
