import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.exact import exact_duplicates


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.booleans()), max_size=20), st.randoms())
def test_of_each_group_the_living_one_with_the_lowest_place_stays(rows, chance):
    keys = np.array([row[:2] for row in rows], dtype=np.uint64).reshape(len(rows), 2)
    alive = np.array([row[2] for row in rows], dtype=bool)
    places = np.array(chance.sample(range(len(rows)), len(rows)), dtype=np.int64)

    keeper = exact_duplicates(keys, places, alive)

    for number in range(len(rows)):
        group = [other for other in range(len(rows)) if alive[other] and (keys[other] == keys[number]).all()]
        best = min(group, key=places.__getitem__) if alive[number] else number
        assert keeper[number] == (-1 if best == number else best)
